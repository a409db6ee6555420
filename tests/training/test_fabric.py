"""How many processes train: as many as torchrun started, whatever a scheduler has in the environment."""

from __future__ import annotations

import os

import pytest

import thimble.training.fabric
from thimble.errors import UserError
from thimble.training.fabric import Launch, launched, start_fabric

hidden = vars(thimble.training.fabric)["_without_schedulers"]


@pytest.mark.parametrize(
    "variables",
    [
        {
            "SLURM_NTASKS": "4",
            "SLURM_JOB_NAME": "train",
            "SLURM_JOB_ID": "1",
            "SLURM_PROCID": "3",
            "SLURM_LOCALID": "3",
        },
        {"SLURM_NTASKS": "four", "SLURM_JOB_NAME": "train"},
        {"LSB_JOBID": "1", "LSB_DJOB_RANKFILE": "/nowhere", "JSM_NAMESPACE_RANK": "2", "JSM_NAMESPACE_SIZE": "4"},
        {"OMPI_COMM_WORLD_SIZE": "4", "OMPI_COMM_WORLD_RANK": "2", "PMI_RANK": "2", "PMI_SIZE": "4"},
        {"KUBERNETES_PORT": "443", "MASTER_ADDR": "nobody", "MASTER_PORT": "none", "WORLD_SIZE": "1", "RANK": "3"},
        {"WORLD_SIZE": "", "LOCAL_WORLD_SIZE": "0", "RANK": "odd", "LOCAL_RANK": "-1", "NODE_RANK": "x"},
        {"WORLD_SIZE": "abc"},
        {"WORLD_SIZE": "²"},
        {"LT_DEVICES": "4", "LT_PRECISION": "nonsense", "LT_STRATEGY": "ddp", "LT_NUM_NODES": "many"},
    ],
    ids=lambda variables: next(iter(variables.items())),
)
def test_what_no_torchrun_has_set_starts_one_process(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert launched() == Launch(rank=0, size=1, local_size=1)
    fabric = start_fabric("cpu", "float32")
    assert (fabric.world_size, fabric.global_rank, fabric.local_rank, fabric.node_rank) == (1, 0, 0, 0)
    assert (fabric.device.type, fabric._precision.precision) == ("cpu", "32-true")
    assert {name: os.environ.get(name) for name in variables} == variables


def test_what_lightning_would_read_is_hidden_from_it_and_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """When it is imported, it takes the first rank that it finds for a number."""
    ranks = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
    for name in (*ranks, "LT_DEVICES"):
        monkeypatch.setenv(name, "odd")
    with hidden(Launch()):
        assert not {*ranks, "LT_DEVICES"} & os.environ.keys()
    assert {os.environ[name] for name in ranks} == {"odd"}
    with hidden(Launch(rank=1, size=2, local_size=2)):
        assert {*ranks, "LT_DEVICES"} & os.environ.keys() == {"RANK", "LOCAL_RANK"}


TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "LOCAL_RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2"}


def test_torchruns_processes_know_their_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TORCHRUN.items():
        monkeypatch.setenv(name, value)
    assert launched() == Launch(rank=3, size=4, local_size=2)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("RANK", "odd", "RANK is 'odd' in the environment: expected a whole number; start the processes with torchrun"),
        ("RANK", "4", "contradict each other"),
        ("RANK", "-1", "RANK is '-1'"),
        ("WORLD_SIZE", "", "WORLD_SIZE is ''"),
        ("WORLD_SIZE", "5", "contradict each other"),
        ("LOCAL_WORLD_SIZE", "0", "contradict each other"),
        ("LOCAL_WORLD_SIZE", None, "LOCAL_WORLD_SIZE is ''"),
        ("LOCAL_RANK", "2", "contradict each other"),
        ("TORCHELASTIC_RUN_ID", None, "WORLD_SIZE is 4 .*, but torchrun did not start this process: start several"),
    ],
)
def test_odd_variables_beside_torchrun_are_one_line(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, message: str
) -> None:
    for known, good in {**TORCHRUN, name: value}.items():
        if good is None:
            monkeypatch.delenv(known, raising=False)
        else:
            monkeypatch.setenv(known, good)
    with pytest.raises(UserError, match=message):
        launched()
