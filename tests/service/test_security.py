"""TLS and tokens: a real service, real certificates, real sockets."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from emu_planner.cli.main import main
from emu_planner.plan import ErrorCode, Generation, PlanError, Still, Task, collect
from emu_planner.service.access import Access, hash_token, read_clients
from emu_planner.service.config import ServiceConfig
from emu_planner.service.server import running_service
from emu_planner.wire import planner_pb2 as pb
from emu_planner.wire import planner_pb2_grpc
from emu_planner.wire.client import ClientConfig, RemotePlanner
from emu_planner.wire.credentials import Credentials, CredentialsError
from tests.fakes import FakePlanner, fake_observation

TASK = Task("stack the blocks", Generation(seed=5))
TOKEN = "a-long-token-of-the-first-robot"


class Secrets:
    """One authority, a service's certificate and a client's, as files."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.authority = folder, trustme.CA()
        self.ca = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca))
        self.tls_certificate, self.tls_key = self.issue("service", "localhost", "127.0.0.1")
        self.certificate, self.key = self.issue("client", "robot-1.example")

    def issue(self, name: str, *hosts: str) -> tuple[Path, Path]:
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        issued = self.authority.issue_cert(*hosts)
        certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key))
        return certificate, key


@pytest.fixture
def secrets(tmp_path: Path) -> Secrets:
    return Secrets(tmp_path)


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    path = tmp_path / "tokens"
    path.write_text(f"robot-1 {hash_token(TOKEN)}\n")
    return path


def config_of(secrets: Secrets, **changes) -> ServiceConfig:
    return ServiceConfig(
        address="localhost:0",
        drain_timeout_s=0.0,
        tls_certificate=secrets.tls_certificate,
        tls_key=secrets.tls_key,
        **changes,
    )


def client(credentials: Credentials) -> ClientConfig:
    return ClientConfig(connect_timeout_s=2.0, credentials=credentials)


def report_of(target: str, credentials: Credentials):
    with RemotePlanner(target, client(credentials)) as planner:
        return collect(TASK.instruction, planner.plan(TASK, Still(fake_observation())))


def refusal(target: str, credentials: Credentials) -> PlanError:
    with RemotePlanner(target, client(credentials)) as planner, pytest.raises(PlanError) as raised:
        planner.server_info()
    return raised.value


def test_a_plan_over_tls_with_a_token(secrets, tokens):
    plain = collect(TASK.instruction, FakePlanner().plan(TASK, Still(fake_observation())))
    with running_service(FakePlanner, config_of(secrets, tokens=tokens)) as target:
        report = report_of(target, Credentials(ca=secrets.ca, token=TOKEN))
    assert not report.error_code
    assert len(report.steps) == len(plain.steps)


def test_without_the_authority_nobody_is_trusted(secrets, tmp_path):
    (tmp_path / "other").mkdir()
    other = Secrets(tmp_path / "other")
    with running_service(FakePlanner, config_of(secrets)) as target:
        assert refusal(target, Credentials(ca=other.ca)).code is ErrorCode.SERVER_UNAVAILABLE
        assert refusal(target, Credentials()).code is ErrorCode.SERVER_UNAVAILABLE
        assert not report_of(target, Credentials(ca=secrets.ca)).error_code


def test_a_client_needs_its_certificate_where_one_is_asked_for(secrets, tmp_path):
    (tmp_path / "other").mkdir()
    other = Secrets(tmp_path / "other")
    with running_service(FakePlanner, config_of(secrets, client_ca=secrets.ca)) as target:
        assert refusal(target, Credentials(ca=secrets.ca)).code is ErrorCode.SERVER_UNAVAILABLE
        stranger = Credentials(ca=secrets.ca, certificate=other.certificate, key=other.key)
        assert refusal(target, stranger).code is ErrorCode.SERVER_UNAVAILABLE
        known = Credentials(ca=secrets.ca, certificate=secrets.certificate, key=secrets.key)
        assert not report_of(target, known).error_code


@pytest.mark.parametrize("sent", [(), (("authorization", "Bearer wrong"),), (("authorization", TOKEN),)])
def test_every_call_but_health_needs_a_token(secrets, tokens, sent):
    with running_service(FakePlanner, config_of(secrets, tokens=tokens)) as target:
        channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(secrets.ca.read_bytes()))
        with channel:
            stub = planner_pb2_grpc.PlannerServiceStub(channel)
            opening = pb.OpenSession(instruction="stack")
            reflection = channel.stream_stream(
                "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
            )
            calls = (
                lambda: stub.GetServerInfo(pb.GetServerInfoRequest(), metadata=sent, timeout=5),
                lambda: list(stub.Plan(iter([pb.PlanRequest(open=opening)]), metadata=sent, timeout=5)),
                lambda: list(stub.GeneratePlan(pb.GeneratePlanRequest(), metadata=sent, timeout=5)),
                lambda: list(reflection(iter([b""]), metadata=sent, timeout=5)),
            )
            for call in calls:
                with pytest.raises(grpc.RpcError) as raised:
                    call()
                assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
                assert TOKEN not in raised.value.details()
            health = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
            assert health.status == health_pb2.HealthCheckResponse.SERVING


def test_tokens_come_and_go_while_the_service_runs(secrets, tokens, capsys):
    with running_service(FakePlanner, config_of(secrets, tokens=tokens)) as target:
        assert main(["tokens", "add", "robot-2", "--file", str(tokens)]) == 0
        second = capsys.readouterr().out.strip()
        assert second not in tokens.read_text()
        assert not report_of(target, Credentials(ca=secrets.ca, token=second)).error_code
        assert main(["tokens", "remove", "robot-1", "--file", str(tokens)]) == 0
        error = refusal(target, Credentials(ca=secrets.ca, token=TOKEN))
        assert error.code is ErrorCode.UNAUTHENTICATED
        assert "withdrawn" in error.message
        # to the last of them
        assert main(["tokens", "remove", "robot-2", "--file", str(tokens)]) == 0
        assert refusal(target, Credentials(ca=secrets.ca, token=second)).code is ErrorCode.UNAUTHENTICATED
        assert main(["tokens", "add", "robot-2", "--file", str(tokens)]) == 0
        second = capsys.readouterr().out.strip()
        assert not report_of(target, Credentials(ca=secrets.ca, token=second)).error_code
        # a file that has become wrong leaves the last good one in force
        tokens.write_text("nonsense\n")
        assert not report_of(target, Credentials(ca=secrets.ca, token=second)).error_code


def test_a_new_token_in_the_file_is_taken_without_a_restart(secrets, tokens, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text("not-this-one\n")
    with (
        running_service(FakePlanner, config_of(secrets, tokens=tokens)) as target,
        RemotePlanner(target, client(Credentials(ca=secrets.ca, token_file=mine))) as planner,
    ):
        with pytest.raises(PlanError):
            planner.server_info()
        mine.write_text(TOKEN + "\n")
        assert planner.server_info().state == "running"
        mine.unlink()
        with pytest.raises(PlanError) as raised:
            planner.server_info()
        assert raised.value.code is ErrorCode.UNAUTHENTICATED


def test_a_renewed_certificate_serves_the_next_connection(secrets, tmp_path):
    with running_service(FakePlanner, config_of(secrets)) as target:
        assert not report_of(target, Credentials(ca=secrets.ca)).error_code
        (tmp_path / "new").mkdir()
        new = Secrets(tmp_path / "new")
        secrets.tls_certificate.write_bytes(new.tls_certificate.read_bytes())
        secrets.tls_key.write_bytes(new.tls_key.read_bytes())
        assert not report_of(target, Credentials(ca=new.ca)).error_code
        # half a renewal leaves what was in force
        secrets.tls_certificate.write_text("")
        assert not report_of(target, Credentials(ca=new.ca)).error_code


class Held:
    """A planner that speaks when told to."""

    def __init__(self) -> None:
        self.running, self.go = threading.Semaphore(0), threading.Event()

    def plan(self, task, frames, history=(), *, stop=None):
        self.running.release()
        self.go.wait(30)
        yield from FakePlanner().plan(task, frames, history, stop=stop)


def test_a_token_has_its_own_number_of_sessions(secrets, tokens):
    tokens.write_text(f"robot-1 {hash_token(TOKEN)} sessions=1\nrobot-2 {hash_token('other')}\n")
    held, first = Held(), []
    config = config_of(secrets, tokens=tokens, max_running_plans=4)
    with running_service(lambda: held, config) as target:
        mine = Credentials(ca=secrets.ca, token=TOKEN)
        thread = threading.Thread(target=lambda: first.append(report_of(target, mine)))
        thread.start()
        assert held.running.acquire(timeout=30)
        report = report_of(target, mine)
        assert report.error_code == ErrorCode.RESOURCE_EXHAUSTED.value
        assert "robot-1" in report.error_message
        held.go.set()
        assert not report_of(target, Credentials(ca=secrets.ca, token="other")).error_code
        thread.join()
    assert not first[0].error_code


def test_calls_a_minute_are_counted(tokens):
    now_s = [0.0]
    tokens.write_text(f"robot-1 {hash_token(TOKEN)} calls_per_minute=2\n")
    access = Access(tokens, lambda: now_s[0])
    sent = [("authorization", f"Bearer {TOKEN}")]
    access.admit(sent)
    now_s[0] = 30.0
    access.admit(sent)
    with pytest.raises(PlanError, match="next is possible in 30 s") as raised:
        access.admit(sent)
    assert raised.value.code is ErrorCode.RESOURCE_EXHAUSTED
    now_s[0] = 60.0
    access.admit(sent)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("robot-1\n", "line 1: expected a name"),
        (f"robot-1 {'0' * 63}\n", "line 1: expected a name"),
        (f"a/b {'0' * 64}\n", "line 1: expected a name"),
        (f"a {'0' * 64} speed=3\n", "line 1: 'speed=3'"),
        (f"a {'0' * 64} sessions=-1\n", "line 1: 'sessions=-1'"),
        (f"a {'0' * 64}\n\n# b\na {'1' * 64}\n", "line 4: the name a is there already"),
    ],
)
def test_a_wrong_token_file_names_the_line(tmp_path, text, words):
    path = tmp_path / "tokens"
    path.write_text(text)
    with pytest.raises(CredentialsError, match=words):
        read_clients(path)


def test_a_service_without_any_token_does_not_start(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("# nobody\n")
    with pytest.raises(CredentialsError, match="holds no token; add one with `emu-planner tokens add`"):
        Access(path)


def test_the_token_file_keeps_its_mode(tokens):
    assert main(["tokens", "add", "new", "--file", str(tokens.parent / "fresh")]) == 0
    assert (tokens.parent / "fresh").stat().st_mode & 0o777 == 0o600
    tokens.chmod(0o640)
    assert main(["tokens", "add", "robot-2", "--file", str(tokens)]) == 0
    assert tokens.stat().st_mode & 0o777 == 0o640


def test_sessions_that_are_opened_together_keep_to_the_limit(secrets, tokens):
    tokens.write_text(f"robot-1 {hash_token(TOKEN)} sessions=1\n")
    held, reports = Held(), []
    config = config_of(secrets, tokens=tokens, max_running_plans=8)
    with running_service(lambda: held, config) as target:
        mine = Credentials(ca=secrets.ca, token=TOKEN)
        threads = [threading.Thread(target=lambda: reports.append(report_of(target, mine))) for _ in range(8)]
        for thread in threads:
            thread.start()
        # seven are refused while the one is held
        deadline = threading.Event()
        while len(reports) < 7 and not deadline.wait(0.02):
            assert any(thread.is_alive() for thread in threads)
        held.go.set()
        for thread in threads:
            thread.join()
    codes = [report.error_code for report in reports]
    assert sorted(codes) == ["", *[ErrorCode.RESOURCE_EXHAUSTED.value] * 7]


def test_what_other_machines_reach_must_be_safe(secrets, tokens):
    tls = {"tls_certificate": secrets.tls_certificate, "tls_key": secrets.tls_key}
    for wrong, words in (
        ({}, "no encryption"),
        ({"tokens": tokens}, "no encryption"),
        (tls, "nobody is asked"),
        ({"tls_key": secrets.tls_key}, "go together"),
    ):
        with pytest.raises(ValueError, match=words):
            ServiceConfig(address="0.0.0.0:0", **wrong)
    for right in (
        {"insecure": True},
        {**tls, "tokens": tokens},
        {**tls, "client_ca": secrets.ca},
    ):
        ServiceConfig(address="0.0.0.0:0", **right)


def test_a_token_never_crosses_a_network_in_the_clear(tmp_path):
    with pytest.raises(CredentialsError, match="in the clear"):
        RemotePlanner("gpu-machine:50151", client(Credentials(token=TOKEN)))
    assert TOKEN not in repr(Credentials(token=TOKEN))
    for wrong, words in (
        ({"token": "two words"}, "is no token"),
        ({"token": "a\nb"}, "is no token"),
        ({"token_file": tmp_path / "none"}, "cannot read the token file"),
        ({"token": TOKEN, "token_file": tmp_path / "none"}, "keep one"),
        ({"key": tmp_path / "key"}, "go together"),
    ):
        with pytest.raises(CredentialsError, match=words):
            Credentials(**wrong)
    with pytest.raises(CredentialsError, match="cannot read the certificate authority file"):
        RemotePlanner("localhost:1", client(Credentials(ca=tmp_path / "none")))


def test_credentials_of_the_environment(secrets, tmp_path):
    mine = tmp_path / "mine"
    mine.write_text(TOKEN)
    environment = {
        "EMU_PLANNER_CA": str(secrets.ca),
        "EMU_PLANNER_CERTIFICATE": str(secrets.certificate),
        "EMU_PLANNER_KEY": str(secrets.key),
        "EMU_PLANNER_TOKEN_FILE": str(mine),
        "EMU_PLANNER_TOKEN": "",
    }
    found = Credentials.from_environment(environment)
    assert found == Credentials(
        ca=secrets.ca, certificate=secrets.certificate, key=secrets.key, token_file=mine
    )
    assert found.metadata() == (("authorization", f"Bearer {TOKEN}"),)
    assert Credentials.from_environment({}) == Credentials()
    assert Credentials.from_environment({"EMU_PLANNER_TLS": "1"}).encrypted


@pytest.mark.parametrize("broken", ["tls_certificate", "tls_key", "tokens"])
def test_serve_says_which_file_is_wrong(secrets, tokens, tmp_path, broken):
    files = {
        "tls_certificate": secrets.tls_certificate,
        "tls_key": secrets.tls_key,
        "tokens": tokens,
    }
    files[broken].write_text("wrong\n")
    words = [word for name, path in files.items() for word in (f"--{name.replace('_', '-')}", str(path))]
    command = [sys.executable, "-m", "emu_planner.cli.main", "serve", "--port", "0", *words]
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=100, env={**os.environ, "GRPC_VERBOSITY": "NONE"}
    )
    assert ended.returncode == 2
    assert str(files[broken]) in ended.stderr
    assert "Traceback" not in ended.stderr
