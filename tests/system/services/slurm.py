"""Slurm with three virtual nodes on this machine, for root and any other user."""

import os
import socket
import subprocess

from tests.system.services import packages, ports
from tests.system.services.ground import Endpoint, Ground
from tests.system.services.process import MARK, PATH, spawn, wait_until

NEEDS = ()
PACKAGES = packages.SLURM

NODES = 3
CPUS_A_NODE = 2
MEMORY_A_NODE_MB = 2000
PARTITION = "debug"


def install(ground: Ground) -> None:
    """Nothing beside the packages."""


def start(ground: Ground) -> Endpoint:
    """`env` makes every Slurm command use this cluster. There is no accounting database, so no sacct: finished jobs
    stay in `scontrol show job` for an hour. Processes are tracked by descent, not by cgroup, so that several clusters
    and a machine of either cgroup version do."""
    folder = ground.folder("slurm")
    for part in ("log", "state", "munge"):
        ground.make("slurm", part)
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    socket_path = folder / "munge" / "socket"
    munged = spawn(
        folder,
        ["munged", "--foreground", "--force", f"--socket={socket_path}", f"--key-file={key}",
         f"--pid-file={folder}/munge/pid", f"--log-file={folder}/log/munged.log", f"--seed-file={folder}/munge/seed"],
    )  # fmt: skip
    wait_until(folder, socket_path.exists, "munged", munged)
    controller, *nodes = ports.free(1 + NODES)
    config = folder / "slurm.conf"
    config.write_text(_configuration(str(folder), str(socket_path), controller, nodes))
    env = {"SLURM_CONF": str(config)}
    daemons = [spawn(folder, ["slurmctld", "-D", "-i", "-f", config], env=env)]
    for number in range(1, NODES + 1):
        name = f"n{number}"
        ground.make("slurm", "spool", name)
        daemons.append(spawn(folder, ["slurmd", "-D", "-N", name, "-f", config], env=env, name=f"slurmd.{name}"))

    def all_idle() -> bool:
        asked = ["timeout", "10", "sinfo", "--noheader", "--Node", "--format=%t"]
        told = subprocess.run(asked, env={"PATH": PATH, **env}, capture_output=True, text=True, check=False)
        return told.stdout.split() == ["idle"] * NODES

    wait_until(folder, all_idle, "slurm", munged, *daemons)
    return {
        "env": {**env, MARK: str(folder)},
        "partition": PARTITION,
        "nodes": [f"n{number}" for number in range(1, NODES + 1)],
        "cpus_a_node": CPUS_A_NODE,
        "log_folder": str(folder / "log"),
    }


def _has_address(host: str) -> bool:
    try:
        return bool(socket.gethostbyname(host))
    except OSError:
        return False


def _configuration(folder: str, munge: str, controller: int, nodes: list[int]) -> str:
    """Timers are short so that a lost node or an overrun job is noticed within seconds. The daemons listen on the
    loopback interface alone; those of nodes on all where this machine's name has no address."""
    host = socket.gethostname()
    lines = "\n".join(
        f"NodeName=n{number} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS_A_NODE} "
        f"RealMemory={MEMORY_A_NODE_MB}"
        for number, port in enumerate(nodes, 1)
    )
    # Clients listen where the machine's name leads, so that it needs an address for the second word.
    words = "NoCtldInAddrAny,NoInAddrAny" if _has_address(host) else "NoCtldInAddrAny"
    return f"""
ClusterName=pilottest
CommunicationParameters={words}
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
AuthType=auth/munge
AuthInfo=socket={munge}
CredType=cred/munge
SlurmUser=root
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmdSpoolDir={folder}/spool/%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=5
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/filetxt
JobCompLoc={folder}/log/jobs
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
PropagateResourceLimits=NONE
SlurmdParameters=config_overrides
SchedulerParameters=batch_sched_delay=0,sched_interval=2,sched_min_interval=0
ReturnToService=2
KillWait=5
SlurmdTimeout=20
SlurmctldTimeout=20
InactiveLimit=0
OverTimeLimit=0
MinJobAge=3600
MailProg=/bin/true
{lines}
PartitionName={PARTITION} Nodes=ALL Default=YES MaxTime=01:00:00 DefaultTime=00:10:00 DefMemPerCPU=500 State=UP
"""
