#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pack static binaries as container images, all in one docker-archive that containerd imports.

Each reference given (registry/name:tag) gets the binary of its name, FROM scratch. kube-proxy gets nft with its
libraries as well, and both it and localhost/tools get busybox with a link for each of its commands.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import subprocess
import tarfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

PATH_VALUE = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TOOLS_IMAGE = "tools"
NFT_IMAGE = "kube-proxy"
# where a binary lies when a manifest counts on the image's own entrypoint or path
PLACES = {"coredns": "/coredns", "pause": "/pause"}


@dataclass(frozen=True)
class Layer:
    """Contents of a layer: files (path in the image -> file of this machine) and symbolic links (path -> target)."""

    files: dict[str, Path] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Image:
    """One image: its full reference, its layers from the lowest up, and its entrypoint (empty: none)."""

    reference: str
    layers: tuple[Layer, ...]
    entrypoint: tuple[str, ...] = ()


def image_name(reference: str) -> str:
    """Return the last path component of a reference without its tag: registry/coredns/coredns:v1 -> coredns."""
    return reference.rsplit("/", 1)[-1].split(":", 1)[0]


def plan_image(reference: str, binaries: Path, tools: Layer, nft: Layer) -> Image:
    """Return what the image of a reference consists of."""
    name = image_name(reference)
    if name == TOOLS_IMAGE:
        return Image(reference, (tools,))
    place = PLACES.get(name, f"/usr/local/bin/{name}")
    own = Layer({place: binaries / name})
    entrypoint = (place,) if name in PLACES else ()
    return Image(reference, (tools, nft, own) if name == NFT_IMAGE else (own,), entrypoint)


def parse_ldd(output: str) -> list[str]:
    """Return the absolute paths of the libraries that ldd names, the loader included."""
    return [word for line in output.splitlines() for word in line.split() if word.startswith("/")]


def layer_bytes(layer: Layer) -> bytes:
    """Return the layer as an uncompressed tar: parents before their files, everything root's, all times zero."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, mode in _directories([*layer.files, *layer.links]):
            tar.addfile(_entry(path, tarfile.DIRTYPE, mode))
        for path, source in layer.files.items():
            entry = _entry(path, tarfile.REGTYPE, 0o755)
            entry.size = source.stat().st_size
            with source.open("rb") as stream:
                tar.addfile(entry, stream)
        for path, target in layer.links.items():
            entry = _entry(path, tarfile.SYMTYPE, 0o777)
            entry.linkname = target
            tar.addfile(entry)
    return buffer.getvalue()


def _directories(paths: Iterable[str]) -> list[tuple[str, int]]:
    """Return every parent of the paths and /tmp, each with its mode, parents first."""
    parents = {str(parent) for path in paths for parent in PurePosixPath(path).parents} - {"/"}
    return [("/tmp", 0o1777), *((parent, 0o755) for parent in sorted(parents - {"/tmp"}))]


def _entry(path: str, kind: bytes, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(path.lstrip("/"))
    entry.type, entry.mode = kind, mode
    return entry


def image_config(image: Image, digests: list[str]) -> bytes:
    """Return the configuration of an image whose layers have these SHA-256 sums, as canonical JSON."""
    config: dict[str, object] = {"Env": [f"PATH={PATH_VALUE}"]}
    if image.entrypoint:
        config["Entrypoint"] = list(image.entrypoint)
    document = {
        "architecture": _architecture(),
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in digests]},
    }
    return json.dumps(document, sort_keys=True).encode()


def _architecture() -> str:
    machine = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout.strip()
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


def write_archive(images: Iterable[Image], output: Path) -> None:
    """Write a docker-archive; a layer that several images share is stored once."""
    stored: dict[str, str] = {}
    manifest = []
    with tarfile.open(output, "w") as archive:
        for image in images:
            digests = [_store_layer(archive, layer, stored) for layer in image.layers]
            config = image_config(image, digests)
            name = f"{hashlib.sha256(config).hexdigest()}.json"
            _add(archive, name, config)
            layers = [f"{digest}/layer.tar" for digest in digests]
            manifest.append({"Config": name, "RepoTags": [image.reference], "Layers": layers})
        _add(archive, "manifest.json", json.dumps(manifest).encode())


def _store_layer(archive: tarfile.TarFile, layer: Layer, stored: dict[str, str]) -> str:
    """Add a layer unless it is there, and return its SHA-256 sum."""
    identity = repr(layer)
    if identity not in stored:
        data = layer_bytes(layer)
        stored[identity] = hashlib.sha256(data).hexdigest()
        _add(archive, f"{stored[identity]}/layer.tar", data)
    return stored[identity]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))


def tools_layer(tree: Path) -> Layer:
    """Return the layer with the busybox of a Debian tree and its commands."""
    busybox = tree / "bin/busybox"
    commands = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    return Layer({"/bin/busybox": busybox}, {f"/bin/{name}": "busybox" for name in commands if name != "busybox"})


def nft_layer(tree: Path) -> Layer:
    """Return the layer with nft of a Debian tree.

    Without the names of protocols nft lists 6 where it was given tcp. kube-proxy compares the two in each full sync,
    which is due an hour after its start, and removes every rule that it seems not to have made.
    """
    program, names = program_layer(tree, "/usr/sbin/nft"), "/etc/protocols"
    return Layer({**program.files, names: tree / names.lstrip("/")}, program.links)


def program_layer(tree: Path, program: str) -> Layer:
    """Return the layer with a program of a Debian tree and the libraries it is linked with."""
    return collect_program(tree, program, lambda command: _in_tree(tree, command))


def collect_program(tree: Path, program: str, run: Callable[[list[str]], str]) -> Layer:
    """Return the program's files, links resolved inside the tree; run() returns what a command printed there."""
    paths = [program, *parse_ldd(run(["ldd", program]))]
    return Layer({path: tree / run(["readlink", "-f", path]).strip().lstrip("/") for path in paths})


def _in_tree(tree: Path, command: list[str]) -> str:
    return subprocess.run(["chroot", str(tree), *command], capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Read the command line and write the archive."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tree", type=Path, required=True, help="Debian tree with busybox-static and nftables")
    parser.add_argument("--bin", type=Path, required=True, help="directory of the static binaries")
    parser.add_argument("output", type=Path)
    parser.add_argument("references", nargs="+", help="registry/name:tag, name is the binary's")
    arguments = parser.parse_args()
    tools, nft = tools_layer(arguments.tree), nft_layer(arguments.tree)
    write_archive((plan_image(name, arguments.bin, tools, nft) for name in arguments.references), arguments.output)


if __name__ == "__main__":
    main()
