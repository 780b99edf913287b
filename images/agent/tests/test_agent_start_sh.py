# SPDX-License-Identifier: GPL-3.0-or-later
"""The start script, run by a real bash against a real agent.sock, with stand-ins for socat and MariaDB's programs."""

from __future__ import annotations

import contextlib
import os
import queue
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from galera_agent import __main__ as program
from galera_agent import door
from galera_agent.transfer import Role, running
from galera_agent.upkeep import KILL_PIPE

SCRIPTS = Path(program.__file__).parent
SOCAT = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect(sys.argv[-1].removeprefix("UNIX-CONNECT:"))
connection.sendall(sys.stdin.buffer.read())
connection.shutdown(socket.SHUT_WR)
while part := connection.recv(4096):
    sys.stdout.buffer.write(part)
"""
MARIADBD = """
import os, signal, sys
if "--wsrep-recover" in sys.argv:
    print("2026-11-21  7:07:18 0 [Note] WSREP: Recovered position: uuid:7", file=sys.stderr)
    sys.exit(int(os.environ.get("RECOVER_EXIT", "0")))
run, slow = "--run" in sys.argv, "--slow" in sys.argv
told = {signal.SIGTERM, signal.SIGUSR1}
# Blocked and waited for: one that a handler gets just before a pause is lost on it
signal.pthread_sigmask(signal.SIG_BLOCK, told if run else ())
print("\\n".join(["started", os.environ["BASH_ENV"], *sys.argv[1:]]), flush=True)
while run and signal.sigwait(told) == signal.SIGTERM and slow:
    os.write(1, b"told\\n")
"""
INSTALL_DB = """
import os, pathlib, sys
options = dict(one.split("=", 1) for one in sys.argv[1:] if "=" in one)
target = pathlib.Path(options["--datadir"])
target.mkdir()
(target / "half").write_text("")
print("ERROR: 28  No space left on device")
if os.environ.get("INSTALL_EXIT"):
    sys.exit(1)
(target / "half").rename(target / "ibdata1")
(target / "sql").write_text(pathlib.Path(options["--extra-file"]).read_text())
"""


class Stage:
    """A pod of directories: the script runs in it, the test plays the agent."""

    def __init__(self, root: Path) -> None:
        self.root, self.requests = root, queue.Queue[tuple[str, str, door.Caller]]()
        for name in ("bin", "run", "volume/data", "tmp"):
            (root / name).mkdir(parents=True)
        for name, text in (("socat", SOCAT), ("mariadbd", MARIADBD), ("mariadb-install-db", INSTALL_DB)):
            (root / "bin" / name).write_text(f"#!{sys.executable}\n{text}")
            (root / "bin" / name).chmod(0o755)
        (root / "galera.cnf").write_text("[mariadb]\nwsrep_provider=/usr/lib/galera/libgalera_smm.so\n")
        program.install_scripts(root / "run")
        self.env = {
            "PATH": f"{root / 'bin'}:{os.environ['PATH']}",
            "GALERA_CNF": str(root / "galera.cnf"),
            "GALERA_DATADIR": str(root / "volume/data"),
            "GALERA_RUNDIR": str(root / "run"),
            "TMPDIR": str(root / "tmp"),
        }
        self.process: subprocess.Popen[str] | None = None

    def listen(self) -> None:
        door.listen(self.root / "run/agent.sock", lambda *request: self.requests.put(request))

    def start(self, **env: str) -> None:
        command = ["bash", str(self.root / "run/start.sh")]
        # With a session of its own, so that nothing of it outlives the test
        self.process = subprocess.Popen(
            command, env={**self.env, **env}, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def asked(self) -> tuple[str, str, door.Caller]:
        return self.requests.get(timeout=20)

    def output(self) -> str:
        assert self.process is not None
        return self.process.communicate(timeout=20)[0]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    found = Stage(tmp_path)
    yield found
    if found.process is not None and found.process.poll() is None:
        os.killpg(found.process.pid, signal.SIGKILL)
        found.process.wait()


def test_arguments_arrive_as_they_were_sent(stage: Stage) -> None:
    stage.listen()
    stage.start()
    word, _, caller = stage.asked()
    assert word == "start"
    caller.answer(["exec", "--a=with space", "--b=$(touch /nowhere);`id`", "--c='\"", "--d=*", ""])
    assert stage.output().splitlines() == [
        "started",
        str(stage.root / "run/sst_env.sh"),
        "--a=with space",
        "--b=$(touch /nowhere);`id`",
        "--c='\"",
        "--d=*",
        "",
    ]


def test_recovery_is_reported_with_its_log(stage: Stage) -> None:
    stage.listen()
    stage.start(RECOVER_EXIT="1")
    stage.asked()[2].answer(["recover"])
    word, text, caller = stage.asked()
    assert word == "recovered"
    assert text.splitlines()[0] == "1"
    assert "Recovered position: uuid:7" in text
    caller.answer(["exec"])
    assert stage.output().startswith("started")


@pytest.mark.parametrize(
    ("names", "my_cnf", "used"),
    [
        ([], "", None),
        (["binlog.index", "n-relay-bin.index"], "", "binlog"),
        (["binlog.index"], "log_bin=/logs/other", None),
        (["binlog.index"], "log-bin", None),
        (["binlog.index"], "log_bin_trust_function_creators=1", "binlog"),
    ],
)
def test_recovery_reads_the_binary_log_that_was_in_use(
    stage: Stage, names: list[str], my_cnf: str, used: str | None
) -> None:
    """Without it, what was acknowledged and stands in the binary log only would be rolled back."""
    for name in names:
        (stage.root / "volume/data" / name).write_text("")
    with (stage.root / "galera.cnf").open("a") as file:
        file.write(f"{my_cnf}\n")
    (stage.root / "bin/mariadbd").write_text(f"#!{sys.executable}\nimport sys\nprint('ARGS', *sys.argv[1:])\n")
    stage.listen()
    stage.start()
    stage.asked()[2].answer(["recover"])
    _, text, _ = stage.asked()
    words = text.split()
    assert "--wsrep-recover" in words
    assert "--skip-log-bin" not in words
    found = [word for word in words if word.startswith("--log-bin")]
    assert found == ([] if used is None else [f"--log-bin={stage.root / 'volume/data' / used}"])


def test_the_first_data_directory_appears_whole(stage: Stage) -> None:
    stage.listen()
    (stage.root / "volume/data/galera.cache").write_text("left over")
    sql = stage.root / "run/init.sql"
    sql.write_text("SELECT 1;\n")
    stage.start()
    stage.asked()[2].answer(["initialise", str(sql)])
    word, _, caller = stage.asked()
    assert word == "initialised"
    assert sorted(entry.name for entry in (stage.root / "volume/data").iterdir()) == ["ibdata1", "sql"]
    assert (stage.root / "volume/data/sql").read_text() == "SELECT 1;\n"
    assert not sql.exists()
    assert not (stage.root / "volume/data.new").exists()
    caller.answer(["exec"])
    stage.output()


def test_a_failed_initialisation_leaves_no_data_and_no_sql(stage: Stage) -> None:
    stage.listen()
    sql = stage.root / "run/init.sql"
    sql.write_text("SELECT 1;\n")
    stage.start(INSTALL_EXIT="1")
    stage.asked()[2].answer(["initialise", str(sql)])
    word, text, caller = stage.asked()
    assert word == "failed"
    assert "No space left on device" in text
    assert list((stage.root / "volume/data").iterdir()) == []
    assert not sql.exists()
    caller.answer(["again"])
    assert stage.asked()[0] == "start"


def test_the_torso_of_a_killed_initialisation_is_removed(stage: Stage) -> None:
    shutil.copytree(stage.root / "bin", stage.root / "volume/data.new")
    stage.listen()
    stage.start()
    stage.asked()
    assert [entry.name for entry in (stage.root / "volume").iterdir()] == ["data"]


def test_an_agent_that_dies_is_asked_again_from_the_start(stage: Stage) -> None:
    stage.listen()
    stage.start()
    stage.asked()[2].answer(["recover"])
    word, _, caller = stage.asked()
    assert word == "recovered"
    caller.close()
    word, _, caller = stage.asked()
    assert word == "start"
    caller.answer(["exec", "--x"])
    assert stage.output().splitlines()[-1] == "--x"


def test_an_agent_that_is_not_there_yet_is_waited_for(stage: Stage) -> None:
    stage.start()
    stage.listen()
    stage.asked()[2].answer(["exec"])
    assert stage.output().startswith("started")


def test_an_image_without_socat_is_told_of(stage: Stage, capfd: pytest.CaptureFixture[str]) -> None:
    """Without it nobody can ask the agent: a pod that waits for ever would give no reason."""
    (stage.root / "bin/socat").unlink()
    for name in ("bash", "cat", "grep", "install", "mkdir", "mkfifo", "rm", "sleep"):
        (stage.root / "bin" / name).symlink_to(str(shutil.which(name)))
    stage.listen()
    stage.start(PATH=str(stage.root / "bin"))
    assert stage.process is not None
    assert stage.process.wait(timeout=20) == 127
    assert "this image has no socat" in capfd.readouterr().err


def test_an_answer_cut_short_is_not_obeyed(stage: Stage) -> None:
    stage.listen()
    stage.start()
    caller = stage.asked()[2]
    caller._connection.sendall(b"exec\0--half")
    caller.close()
    word, _, caller = stage.asked()
    assert word == "start"
    caller.answer(["exec", "--whole"])
    assert stage.output().splitlines()[-1] == "--whole"


def test_a_stop_is_obeyed_while_it_waits(stage: Stage) -> None:
    stage.listen()
    stage.start()
    caller = stage.asked()[2]
    assert stage.process is not None
    stage.process.send_signal(signal.SIGTERM)
    assert stage.process.wait(timeout=20) == 143
    assert stage.output() == ""
    for _ in range(400):
        if caller.gone():
            break
        time.sleep(0.05)
    assert not caller.answer(["exec"]), "what it had asked with still waits"


def test_only_the_donors_ten_seconds_are_left_out(stage: Stage) -> None:
    """The stand-in for sleep says how long it was told to sleep."""
    (stage.root / "bin/sleep").write_text('#!/bin/sh\necho "slept $1"\n')
    (stage.root / "bin/sleep").chmod(0o755)
    text = "#!/usr/bin/env bash\nset -ue\nWSREP_SST_OPT_ROLE=$2\nsleep 10\nsleep 0.2\nsleep 1\n"
    for name in ("wsrep_sst_mariabackup", "wsrep_sst_rsync"):
        (stage.root / "bin" / name).write_text(text)
        (stage.root / "bin" / name).chmod(0o755)

    def run(name: str, role: str) -> list[str]:
        # As the server does it: through sh, with the role as an argument.
        env = {**stage.env, "BASH_ENV": str(stage.root / "run/sst_env.sh")}
        return subprocess.check_output(["sh", "-c", f"{name} --role '{role}'"], env=env, text=True).splitlines()

    everything = ["slept 10", "slept 0.2", "slept 1"]
    assert run("wsrep_sst_mariabackup", "donor") == everything[1:]
    assert run("wsrep_sst_mariabackup", "joiner") == everything
    assert run("wsrep_sst_rsync", "donor") == everything


@pytest.mark.parametrize(
    ("role", "given", "run"),
    [
        ("donor", "-u stdio TCP:10.0.0.1:4444,retry=300", "-b 262144 -T 600 -t 60 stdio TCP:10.0.0.1:4444,retry=300"),
        ("joiner", "-u TCP-LISTEN:4444,reuseaddr stdio", "-b 262144 -T 600 -u TCP-LISTEN:4444,reuseaddr stdio"),
        ("donor", "-V", "-V"),
    ],
)
def test_a_stream_of_the_donor_ends_when_the_joiner_has_closed_it(
    stage: Stage, role: str, given: str, run: str
) -> None:
    (stage.root / "bin/socat").unlink(missing_ok=True)
    for name, text in (
        ("socat", '#!/bin/sh\necho "$*"\n'),
        ("wsrep_sst_mariabackup", f"#!/usr/bin/env bash\nset -ue\nWSREP_SST_OPT_ROLE=$2\ntrue | socat {given}\n"),
    ):
        (stage.root / "bin" / name).write_text(text)
        (stage.root / "bin" / name).chmod(0o755)
    env = {**stage.env, "BASH_ENV": str(stage.root / "run/sst_env.sh")}
    said = subprocess.check_output(["sh", "-c", f"wsrep_sst_mariabackup --role {role}"], env=env, text=True)
    assert said.strip() == run


def test_the_process_number_of_a_killed_state_transfer_is_forgotten(stage: Stage) -> None:
    stage.listen()
    left = stage.root / "volume/data/wsrep_sst.pid"
    left.write_text("1\n")
    stage.start()
    stage.asked()[2].answer(["exec", "--x"])
    assert stage.process is not None
    assert stage.process.wait(timeout=20) == 0
    assert not left.exists()


def _server(stage: Stage) -> int:
    """Wait until the server runs; returns its process number."""
    assert stage.process is not None
    assert stage.process.stdout is not None
    while (line := stage.process.stdout.readline()) != "--run\n":
        assert line, "the server has ended"
    children = Path(f"/proc/{stage.process.pid}/task/{stage.process.pid}/children").read_text().split()
    (pid,) = [int(one) for one in children if b"--run" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return pid


def test_a_killed_server_is_started_again_in_place_by_the_agents_decision(stage: Stage) -> None:
    stage.listen()
    stage.start()
    for _ in range(2):
        word, _, caller = stage.asked()
        assert word == "start"
        caller.answer(["exec", "--run"])
        os.kill(_server(stage), signal.SIGKILL)
    assert stage.asked()[0] == "start"


def _tell_to_kill(stage: Stage) -> None:
    """As the agent does it; the reader is there soon after the server."""
    pipe, word = stage.root / "run" / KILL_PIPE, b"now\n"
    for _ in range(400):
        with contextlib.suppress(OSError):
            handle = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
            os.write(handle, word)
            os.close(handle)
            return
        time.sleep(0.05)
    pytest.fail("nobody listens")


def test_a_server_that_does_not_stop_is_killed_by_a_word_of_the_agent_and_started_again(stage: Stage) -> None:
    stage.listen()
    stage.start()
    for _ in range(3):
        word, _, caller = stage.asked()
        assert word == "start"
        caller.answer(["exec", "--slow", "--run"])
        os.kill(_server(stage), signal.SIGTERM)
        _tell_to_kill(stage)
    assert stage.asked()[0] == "start"


def test_a_server_that_does_not_stop_with_its_pod_is_killed_as_well(stage: Stage) -> None:
    stage.listen()
    stage.start()
    stage.asked()[2].answer(["exec", "--slow", "--run"])
    _server(stage)
    assert stage.process is not None
    assert stage.process.stdout is not None
    stage.process.send_signal(signal.SIGTERM)
    assert stage.process.stdout.readline() == "told\n"
    _tell_to_kill(stage)
    assert stage.process.wait(timeout=20) == 128 + signal.SIGKILL
    assert stage.requests.empty()


def test_nobody_listens_once_the_server_has_ended(stage: Stage) -> None:
    stage.listen()
    stage.start()
    stage.asked()[2].answer(["exec", "--run"])
    pid = _server(stage)
    handle = os.open(stage.root / "run" / KILL_PIPE, os.O_RDWR)
    os.kill(pid, signal.SIGKILL)
    assert stage.asked()[0] == "start"
    os.close(handle)
    with pytest.raises(OSError, match="No such device"):
        os.open(stage.root / "run" / KILL_PIPE, os.O_WRONLY | os.O_NONBLOCK)


def test_a_stop_is_handed_on_and_the_server_ends_in_order(stage: Stage) -> None:
    stage.listen()
    stage.start()
    stage.asked()[2].answer(["exec", "--run"])
    _server(stage)
    assert stage.process is not None
    stage.process.send_signal(signal.SIGTERM)
    assert stage.process.wait(timeout=20) == 0
    assert stage.requests.empty()


SST = "#!/usr/bin/env bash\nset -ue\necho runs\ncat &\nwait\n"


@contextlib.contextmanager
def transfer(stage: Stage, role: str) -> Iterator[subprocess.Popen[str]]:
    """A script of a state transfer, started as the server does it; it runs until its input ends."""
    (stage.root / "bin/wsrep_sst_any").write_text(SST.replace("cat &", "cat <&0 &"))
    (stage.root / "bin/wsrep_sst_any").chmod(0o755)
    env = {**stage.env, "BASH_ENV": str(stage.root / "run/sst_env.sh")}
    command = ["sh", "-c", f"wsrep_sst_any --role '{role}' --address 'a b'"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=env, stdin=pipe, stdout=pipe, text=True, start_new_session=True) as script:
        assert script.stdout is not None
        if not select.select([script.stdout], [], [], 20)[0]:
            os.killpg(script.pid, signal.SIGKILL)
            pytest.fail("it does not get its lock")
        assert script.stdout.readline() == "runs\n"
        yield script


@pytest.mark.parametrize(("role", "other"), [("donor", "joiner"), ("joiner", "donor")])
def test_a_transfer_is_known_as_long_as_anything_of_it_runs(stage: Stage, role: Role, other: Role) -> None:
    rundir = stage.root / "run"
    assert running(rundir, role) is None
    with transfer(stage, role) as script:
        assert (running(rundir, role), running(rundir, other)) == (True, None)
        with transfer(stage, role) as second:
            second.communicate("")
        assert running(rundir, role) is True
        # The script is killed, what it has started goes on.
        script.kill()
        script.wait()
        assert running(rundir, role) is True
        assert script.stdin is not None
        script.stdin.close()
        subprocess.run(["flock", str(rundir / f"sst.{role}"), "true"], check=True, timeout=20)
    assert running(rundir, role) is False


def test_a_server_that_receives_a_state_transfer_is_killed_by_a_stop(stage: Stage) -> None:
    """It would wait for the end of the transfer, which nobody needs."""
    stage.listen()
    with transfer(stage, "joiner") as script:
        stage.start()
        stage.asked()[2].answer(["exec", "--slow", "--run"])
        _server(stage)
        assert stage.process is not None
        stage.process.send_signal(signal.SIGTERM)
        assert stage.process.wait(timeout=20) == 128 + signal.SIGKILL
        script.communicate("")


def test_a_server_that_has_received_its_data_ends_in_order(stage: Stage) -> None:
    """Also one that gives them to another; the end of the server is held up until its transfers were looked at."""
    os.mkfifo(stage.root / "looks")
    looks = os.open(stage.root / "looks", os.O_RDWR)
    wrapper = f'#!/bin/sh\necho "$4" >{stage.root}/looks\nexec {shutil.which("flock")} "$@"\n'
    with transfer(stage, "joiner") as script:
        script.communicate("")
    with transfer(stage, "donor") as script:
        (stage.root / "bin/flock").write_text(wrapper)
        (stage.root / "bin/flock").chmod(0o755)
        stage.listen()
        stage.start()
        stage.asked()[2].answer(["exec", "--slow", "--run"])
        pid = _server(stage)
        assert stage.process is not None
        stage.process.send_signal(signal.SIGTERM)
        for _ in range(2):
            # The second look comes after what followed the first one.
            assert select.select([looks], [], [], 20)[0], "the server was killed before"
            assert os.read(looks, 4096).decode() == f"{stage.root}/run/sst.joiner\n"
        os.kill(pid, signal.SIGUSR1)
        (stage.root / "bin/flock").unlink()
        assert stage.process.wait(timeout=20) == 0
        script.communicate("")
    os.close(looks)


def test_draining_without_an_agent_holds_nothing_up(stage: Stage) -> None:
    subprocess.run(["bash", str(SCRIPTS / "drain.sh")], env=stage.env, check=True, timeout=20)


def test_a_server_keeps_the_options_that_it_was_started_with(stage: Stage) -> None:
    """Kubernetes removes the directory behind the link of a ConfigMap that has changed; a donor needs the file."""
    stage.listen()
    stage.start()
    given, kept = f"--defaults-file={stage.env['GALERA_CNF']}", stage.root / "run/server.cnf"
    stage.asked()[2].answer(["exec", given, "--datadir=x"])
    written = (stage.root / "galera.cnf").read_text()
    assert stage.output().splitlines()[2:4] == [f"--defaults-file={kept}", "--datadir=x"]
    (stage.root / "galera.cnf").unlink()
    assert (kept.read_text(), kept.stat().st_mode & 0o777) == (written, 0o640)
