# SPDX-License-Identifier: GPL-3.0-or-later
"""local/mkimages.py: what goes into the archive that a node's containerd imports."""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest


def load_script() -> ModuleType:
    path = Path(__file__).resolve().parents[3] / "local/mkimages.py"
    spec = importlib.util.spec_from_file_location("mkimages", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


mkimages = load_script()


@pytest.fixture
def binaries(tmp_path: Path) -> Path:
    for name in ("etcd", "coredns", "kube-proxy"):
        (tmp_path / name).write_text(f"program {name}")
    return tmp_path


@pytest.mark.parametrize(
    ("reference", "name"),
    [
        ("registry.example/kube-apiserver:v1.36.3", "kube-apiserver"),
        ("registry.example/coredns/coredns:v1.14.2", "coredns"),
        ("localhost:5000/etcd", "etcd"),
    ],
)
def test_the_name_of_a_reference_is_the_binary(reference: str, name: str) -> None:
    assert mkimages.image_name(reference) == name


@pytest.mark.parametrize(
    ("reference", "files", "entrypoint"),
    [
        ("r/etcd:3", [["/usr/local/bin/etcd"]], ()),
        ("r/coredns/coredns:v1", [["/coredns"]], ("/coredns",)),
        ("r/pause:3.10", [["/pause"]], ("/pause",)),
        ("r/kube-proxy:v1", [["/bin/busybox"], ["/usr/sbin/nft"], ["/usr/local/bin/kube-proxy"]], ()),
        ("localhost/tools:1", [["/bin/busybox"]], ()),
    ],
)
def test_an_image_holds_what_its_name_asks_for(
    reference: str, files: list[list[str]], entrypoint: tuple[str, ...], tmp_path: Path
) -> None:
    tools = mkimages.Layer({"/bin/busybox": tmp_path / "busybox"})
    nft = mkimages.Layer({"/usr/sbin/nft": tmp_path / "nft"})
    image = mkimages.plan_image(reference, tmp_path, tools, nft)
    assert [list(layer.files) for layer in image.layers] == files
    assert image.entrypoint == entrypoint


def test_ldd_names_libraries_and_the_loader() -> None:
    output = """\tlinux-vdso.so.1 (0x00007ffd)
\tlibnftables.so.1 => /lib/x86_64-linux-gnu/libnftables.so.1 (0x00007f1)
\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)
"""
    assert mkimages.parse_ldd(output) == ["/lib/x86_64-linux-gnu/libnftables.so.1", "/lib64/ld-linux-x86-64.so.2"]


def test_links_of_a_program_are_followed_inside_the_tree(tmp_path: Path) -> None:
    answers = {
        "ldd": "\tlibx.so.1 => /lib/libx.so.1 (0x0)\n",
        "/usr/sbin/nft": "/usr/sbin/nft\n",
        "/lib/libx.so.1": "/usr/lib/libx.so.1.2\n",
    }

    def run(command: list[str]) -> str:
        return answers["ldd" if command[0] == "ldd" else command[-1]]

    layer = mkimages.collect_program(tmp_path, "/usr/sbin/nft", run)
    assert layer.files == {
        "/usr/sbin/nft": tmp_path / "usr/sbin/nft",
        "/lib/libx.so.1": tmp_path / "usr/lib/libx.so.1.2",
    }


def test_nft_has_the_names_of_protocols(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = mkimages.Layer({"/usr/sbin/nft": tmp_path / "usr/sbin/nft"})
    monkeypatch.setattr(mkimages, "program_layer", lambda tree, path: program)
    assert mkimages.nft_layer(tmp_path).files == {**program.files, "/etc/protocols": tmp_path / "etc/protocols"}


def test_a_layer_has_parents_before_files_and_a_world_writable_tmp(binaries: Path) -> None:
    layer = mkimages.Layer({"/usr/local/bin/etcd": binaries / "etcd"}, {"/bin/sh": "busybox"})
    with tarfile.open(fileobj=io.BytesIO(mkimages.layer_bytes(layer))) as tar:
        members = {entry.name: entry for entry in tar.getmembers()}
        content = tar.extractfile("usr/local/bin/etcd")
        assert content is not None
        assert content.read() == b"program etcd"
    assert list(members) == ["tmp", "bin", "usr", "usr/local", "usr/local/bin", "usr/local/bin/etcd", "bin/sh"]
    assert (members["tmp"].mode, members["usr/local/bin/etcd"].mode) == (0o1777, 0o755)
    assert members["bin/sh"].linkname == "busybox"
    assert {(entry.uid, entry.gid, entry.mtime) for entry in members.values()} == {(0, 0, 0)}


def test_an_archive_stores_a_shared_layer_once_and_its_sums_are_true(binaries: Path, tmp_path: Path) -> None:
    shared = mkimages.Layer({"/coredns": binaries / "coredns"})
    own = mkimages.Layer({"/usr/local/bin/etcd": binaries / "etcd"})
    images = [mkimages.Image("r/a:1", (shared,), ("/coredns",)), mkimages.Image("r/b:1", (shared, own))]
    mkimages.write_archive(images, tmp_path / "images.tar")

    with tarfile.open(tmp_path / "images.tar") as archive:
        files = {entry.name: archive.extractfile(entry) for entry in archive.getmembers()}
        contents = {name: stream.read() for name, stream in files.items() if stream}
    layers = {name: data for name, data in contents.items() if name.endswith("/layer.tar")}
    manifest = json.loads(contents["manifest.json"])
    configs = [json.loads(contents[entry["Config"]]) for entry in manifest]

    assert len(layers) == 2
    assert [entry["RepoTags"] for entry in manifest] == [["r/a:1"], ["r/b:1"]]
    for entry, config in zip(manifest, configs, strict=True):
        sums = [f"sha256:{hashlib.sha256(layers[name]).hexdigest()}" for name in entry["Layers"]]
        assert config["rootfs"]["diff_ids"] == sums
    assert configs[0]["config"]["Entrypoint"] == ["/coredns"]
    assert "Entrypoint" not in configs[1]["config"]
