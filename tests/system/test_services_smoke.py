"""Each real server does one round trip, so that the other system tests can trust it."""

import contextlib
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.system.services import process
from tests.system.services.ground import ServiceFailed, prepared
from tests.system.services.tokens import minted
from tests.system.services.uml import run as run_guest

CONTENT = b"some bytes that travel\n" * 4096
ADLER32 = f"{zlib.adler32(CONTENT):08x}"


def run(*words: str | Path, env: Mapping[str, str] | None = None, stdin: str = "", rc: int = 0) -> str:
    done = subprocess.run(
        [str(word) for word in words],
        env={**os.environ, **(env or {})},
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == rc, f"{words[0]} gave {done.returncode}\n{done.stdout[-3000:]}"
    return done.stdout


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.dat"
    path.write_bytes(CONTENT)
    return path


def status_of(url: str, pki: dict[str, Any], *, headers: Mapping[str, str] | None = None, cert: str = "",
              key: str = "", data: bytes | None = None) -> int:  # fmt: skip
    context = ssl.create_default_context(cafile=pki["ca"])
    if cert:
        context.load_cert_chain(cert, key)
    request = urllib.request.Request(url, data, dict(headers or {}), method="PUT" if data is not None else "GET")
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context))
    try:
        with opener.open(request, timeout=20) as answer:
            answer.read()
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_xrootd_stores_a_file_tells_its_checksum_and_gives_it_back(
    xrootd: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    run("xrdcp", source, f"{xrootd['root']}/dir/smoke.dat", env=xrootd["env"])
    told = run("xrdfs", f"127.0.0.1:{xrootd['port']}", "query", "checksum", "/data/dir/smoke.dat", env=xrootd["env"])
    assert told.split() == ["adler32", ADLER32]
    run("xrdcp", f"{xrootd['root']}/dir/smoke.dat", tmp_path / "back", env=xrootd["env"])
    assert (tmp_path / "back").read_bytes() == CONTENT
    with urllib.request.urlopen(f"{xrootd['http']}/dir/smoke.dat", timeout=20) as answer:
        assert answer.read() == CONTENT
    assert (Path(xrootd["folder"]) / "dir" / "smoke.dat").stat().st_size == len(CONTENT)


def test_xrootd_with_tls_wants_a_proxy_or_a_token(
    xrootd_tls: dict[str, Any], pki: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    url = f"{xrootd_tls['roots']}/smoke-%s.dat"
    for way in ("proxy", "token"):
        env = {**xrootd_tls["env"], **xrootd_tls[f"env_{way}"]}
        run("xrdcp", source, url % way, env=env)
        run("xrdcp", url % way, tmp_path / way, env=env)
        assert (tmp_path / way).read_bytes() == CONTENT
    run("xrdcp", source, url % "none", env={**xrootd_tls["env"], "X509_USER_PROXY": str(tmp_path / "none")}, rc=51)


def test_xrootd_speaks_https_with_proxy_voms_proxy_and_token(
    xrootd_tls: dict[str, Any], pki: dict[str, Any], oidc: dict[str, Any]
) -> None:
    url = f"{xrootd_tls['https']}/https.dat"
    reader, expired = minted(oidc, "storage.read:/"), minted(oidc, lifetime_s=-60)
    for proxy in (pki["proxy"], pki["voms_proxy"]):
        assert status_of(url, pki, cert=proxy, key=proxy, data=CONTENT) in (200, 201)
    token = Path(oidc["token_file"]).read_text()
    assert status_of(url, pki, headers={"Authorization": f"Bearer {token}"}, data=CONTENT) in (200, 201)
    assert status_of(url, pki, headers={"Authorization": f"Bearer {reader}"}) == 200
    # Without a body: the server answers and closes before it has read one, and the answer may be lost with it.
    assert status_of(url, pki, headers={"Authorization": f"Bearer {reader}"}, data=b"") == 403
    assert status_of(url, pki, headers={"Authorization": f"Bearer {expired}"}) == 403
    assert status_of(url, pki) == 403


def test_the_issuer_gives_a_token_for_client_credentials(oidc: dict[str, Any], pki: dict[str, Any]) -> None:
    form = {
        "grant_type": "client_credentials",
        "client_id": oidc["client_id"],
        "client_secret": oidc["client_secret"],
        "scope": "storage.read:/",
    }
    context = ssl.create_default_context(cafile=pki["ca"])
    asked = urllib.request.urlopen(
        oidc["token_endpoint"], urllib.parse.urlencode(form).encode(), timeout=20, context=context
    )
    with asked as answer:
        assert json.load(answer)["scope"] == "storage.read:/"


def test_the_voms_proxy_carries_its_role(pki: dict[str, Any]) -> None:
    env = {"X509_CERT_DIR": pki["certificates"], "X509_VOMS_DIR": pki["vomsdir"]}
    assert f"attribute : {pki['fqan']}" in run("voms-proxy-info", "-all", "-file", pki["voms_proxy"], env=env)


def test_webdav_takes_a_file_and_guards_its_private_part(webdav: dict[str, Any], pki: dict[str, Any]) -> None:
    assert status_of(f"{webdav['url']}/new/smoke.dat", pki, data=CONTENT) == 201
    assert status_of(f"{webdav['url']}/new/smoke.dat", pki) == 200
    assert (Path(webdav["folder"]) / "new" / "smoke.dat").read_bytes() == CONTENT
    private = f"{webdav['private']}/smoke.dat"
    assert status_of(private, pki, data=b"") == 403
    assert status_of(private, pki, data=CONTENT, cert=webdav["cert"], key=webdav["key"]) == 201
    assert status_of(f"{webdav['failing']}/x", pki) == 503


def s3_client(endpoint: Mapping[str, Any], **replaced: str) -> Any:
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=endpoint["endpoint"],
        region_name=endpoint["region"],
        aws_access_key_id=endpoint["access_key"],
        aws_secret_access_key=replaced.get("secret_key", endpoint["secret_key"]),
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )


def round_trip_by_s3(endpoint: Mapping[str, Any], source: Path, back: Path) -> None:
    from boto3.s3.transfer import TransferConfig

    client = s3_client(endpoint)
    client.upload_file(str(source), endpoint["bucket"], "dir/smoke.dat")
    client.download_file(endpoint["bucket"], "dir/smoke.dat", str(back))
    assert back.read_bytes() == CONTENT
    source.write_bytes(bytes(12 << 20))
    parts = TransferConfig(multipart_threshold=5 << 20, multipart_chunksize=5 << 20)
    client.upload_file(str(source), endpoint["bucket"], "large", Config=parts)
    assert client.head_object(Bucket=endpoint["bucket"], Key="large")["ContentLength"] == 12 << 20
    stranger = s3_client(endpoint, secret_key="wrong" * 8)
    with pytest.raises(stranger.exceptions.ClientError, match=r"SignatureDoesNotMatch|Forbidden|403"):
        stranger.head_object(Bucket=endpoint["bucket"], Key="large")


def test_rclone_serves_s3_and_refuses_a_wrong_key(s3: dict[str, Any], source: Path, tmp_path: Path) -> None:
    round_trip_by_s3(s3, source, tmp_path / "back")


def test_swift_serves_s3_and_refuses_a_wrong_key(swift_s3: dict[str, Any], source: Path, tmp_path: Path) -> None:
    round_trip_by_s3(swift_s3, source, tmp_path / "back")


def test_the_root_file_system_runs_python_with_the_whole_library(rootfs: dict[str, Any]) -> None:
    told = run(
        "chroot", rootfs["folder"], "/usr/bin/python3", "-c", "import sqlite3, ssl, sys; print(sys.version_info[:2])"
    )
    assert told.strip() == "(3, 11)"


def test_docker_runs_the_test_image(dockerd: dict[str, Any]) -> None:
    words = ("run", "--rm", "--network", "none", dockerd["image"], "python3", "-c", "print(6 * 7); raise SystemExit(3)")
    assert run(dockerd["client"], *words, env=dockerd["env"], rc=3).strip() == "42"


def test_podman_runs_the_test_image_for_root(podman: dict[str, Any]) -> None:
    words = ("run", "--rm", "--network", "none", podman["image"], "python3", "-c", "print(6 * 7); raise SystemExit(3)")
    assert run("podman", *words, env=podman["env"], rc=3).strip() == "42"


def test_podman_runs_the_test_image_without_root(podman: dict[str, Any]) -> None:
    rootless = podman["rootless"]
    (Path(rootless["folder"]) / "input").write_text("data of the user")
    words = (
        "podman",
        "run",
        "--rm",
        "--network",
        "none",
        "--volume",
        f"{rootless['folder']}:/srv/job",
        podman["image"],
    )
    assert run(*rootless["prefix"], *words, "cat", "/srv/job/input") == "data of the user"


def test_slurm_runs_a_job_and_tells_its_exit_code(slurm: dict[str, Any], tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("#!/bin/sh\necho ran on $SLURMD_NODENAME\nexit 3\n")
    job = run("sbatch", "--parsable", f"--output={tmp_path}/out", script, env=slurm["env"]).strip()
    deadline = time.monotonic() + 60
    while "JobState=FAILED" not in (told := run("scontrol", "show", "job", job, env=slurm["env"])):
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
    assert "ExitCode=3:0" in told
    assert (tmp_path / "out").read_text().strip() in [f"ran on {node}" for node in slurm["nodes"]]
    everywhere = run("srun", "--nodes=3", "--ntasks=3", "sh", "-c", "echo $SLURMD_NODENAME", env=slurm["env"])
    assert sorted(everywhere.split()) == slurm["nodes"]


def test_gridftp_takes_a_file_from_its_own_client_and_gfal2_reads_it(
    gridftp: dict[str, Any], gfal: dict[str, Any], source: Path, tmp_path: Path
) -> None:
    url = f"{gridftp['url']}/smoke.dat"
    run("globus-url-copy", source.as_uri(), url, env=gridftp["env"])
    script = (
        "import gfal2, sys; context = gfal2.creat_context();"
        "context.filecopy(sys.argv[1], sys.argv[2]); print(context.checksum(sys.argv[1], 'adler32'), flush=True);"
        "import os; os._exit(0)"  # the library may crash when it is unloaded
    )
    told = run(sys.executable, "-c", script, url, (tmp_path / "back").as_uri(), env={**gridftp["env"], **gfal["env"]})
    assert told.strip() == ADLER32
    assert (tmp_path / "back").read_bytes() == CONTENT


def test_gridftp_refuses_whoever_has_no_proxy(gridftp: dict[str, Any], source: Path, tmp_path: Path) -> None:
    nobody = {**gridftp["env"], "X509_USER_PROXY": str(tmp_path / "none")}
    run("globus-url-copy", source.as_uri(), f"{gridftp['url']}/refused.dat", env=nobody, rc=1)
    assert not (Path(gridftp["folder"]) / "refused.dat").exists()


RUCIO_ROUND_TRIP = """
import pathlib, sys
from rucio.client.downloadclient import DownloadClient
from rucio.client.uploadclient import UploadClient
source, scope, *rses = sys.argv[1:]
for rse in rses:
    item = {"path": source, "rse": rse, "did_scope": scope, "did_name": f"smoke.{rse}"}
    UploadClient().upload([item])
    got = DownloadClient().download_dids([{"did": f"{scope}:smoke.{rse}", "base_dir": rse, "no_subdir": True}])
    same = pathlib.Path(rse, f"smoke.{rse}").read_bytes() == pathlib.Path(source).read_bytes()
    print(rse, got[0]["clientState"].name, same)
"""


def test_rucio_takes_and_gives_back_a_file_at_each_storage_element(
    rucio: dict[str, Any], source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = run(rucio["python"], "-c", RUCIO_ROUND_TRIP, source, rucio["scope"], *rucio["rses"], env=rucio["env"])
    assert told.splitlines() == [f"{rse} DONE True" for rse in rucio["rses"]]
    for rse in rucio["rses"].values():
        (stored,) = (path for path in Path(rse["folder"]).rglob("smoke.*") if path.is_file())
        assert stored.read_bytes() == CONTENT


def test_pegasus_transfer_copies_one_file(pegasus: dict[str, Any], source: Path, tmp_path: Path) -> None:
    transfer = {
        "type": "transfer",
        "id": 1,
        "lfn": "smoke",
        "src_urls": [{"site_label": "local", "url": source.as_uri()}],
        "dest_urls": [{"site_label": "local", "url": (tmp_path / "made" / "copy").as_uri()}],
    }
    (tmp_path / "transfers.json").write_text(json.dumps([transfer]))
    run(*pegasus["transfer"], f"--file={tmp_path}/transfers.json")
    assert (tmp_path / "made" / "copy").read_bytes() == CONTENT


GUEST_SCRIPT = """
mkdir /sys/fs/cgroup/job
echo 64M > /sys/fs/cgroup/job/memory.max
sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; exec python3 -c "x = bytearray(30 << 20)"' && echo small: fine
sh -c 'echo $$ > /sys/fs/cgroup/job/cgroup.procs; exec python3 -c "x = bytearray(200 << 20)"' || echo large: $?
cat /sys/fs/cgroup/job/memory.peak
grep '^oom_kill ' /sys/fs/cgroup/job/memory.events
test -d /srv/repository/pilot && exit 5
"""


def test_a_guest_kernel_enforces_and_counts_memory_by_cgroup_v2(uml: dict[str, Any]) -> None:
    done = run_guest(uml, GUEST_SCRIPT)
    assert done.returncode == 5, done.stdout
    small, large, peak, killed = (line for line in done.stdout.splitlines() if line != "Killed")
    assert (small, large, killed) == ("small: fine", "large: 137", "oom_kill 1")
    assert 30 << 20 < int(peak) <= 64 << 20


def test_a_guest_that_hangs_is_ended(uml: dict[str, Any]) -> None:
    with pytest.raises(ServiceFailed, match="did not end"):
        run_guest(uml, "sleep 1000", within_s=3)
    (hung,) = (folder for folder in Path(uml["folder"]).iterdir() if "sleep 1000" in (folder / "script").read_text())
    assert not process.leaders(hung)


def test_the_browser_runs_a_page_s_script(browser: dict[str, Any], tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<p id=here></p><script>here.textContent = 6 * 7</script>")
    assert '<p id="here">42</p>' in run(*browser["command"], "--dump-dom", page.as_uri())


def test_apptainer_runs_an_image_and_a_folder(apptainer: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "input").write_text("data of the job")
    words = ("exec", "--containall", "--no-home", "--bind", f"{tmp_path}:/srv/job", "--pwd", "/srv/job")
    for image in (apptainer["image"], apptainer["sandbox"]):
        assert run(apptainer["program"], "--quiet", *words, image, "cat", "input") == "data of the job"
    run(apptainer["program"], "--quiet", "exec", apptainer["image"], "sh", "-c", "exit 7", rc=7)


def listening(folder: Path) -> set[str]:
    """The addresses at which the processes of a service take connections."""
    found: set[str] = set()
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if one.environ().get(process.MARK) == str(folder):
                found |= {c.laddr.ip for c in one.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    return found


@pytest.mark.parametrize("name", ["slurm", "s3", "oidc"])
def test_a_server_is_reached_from_this_machine_alone(name: str, service: Callable[[str], dict[str, Any]]) -> None:
    service(name)
    folder = prepared().folder(name)
    nameless = name == "slurm" and "NoInAddrAny" not in (folder / "slurm.conf").read_text()
    at = listening(folder)
    assert "127.0.0.1" in at and (nameless or at == {"127.0.0.1"}), (
        "where this machine's name has no address, nodes differ"
    )
