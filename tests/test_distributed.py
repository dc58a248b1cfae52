from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp

from bombo import distributed


@pytest.mark.parametrize(("count", "expected"), [(0, 1.0), (1, 1.0), (7, 7.0)])
def test_alone(count: int, expected: float) -> None:
    assert distributed.count_over_processes(torch.tensor(count)) == expected


def test_alone_nothing_is_sent() -> None:
    distributed.start(torch.device("cpu"))
    distributed.barrier()
    assert (distributed.rank(), distributed.world(), distributed.is_main()) == (0, 1, True)
    assert distributed.gather("mine") == ["mine"]
    assert distributed.from_main("mine") == "mine"
    assert distributed.any_process((True, False), torch.device("cpu")) == (True, False)


def two(rank: int, port: int, folder: Path) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    torch.set_num_threads(1)
    distributed.start(torch.device("cpu"))
    distributed.start(torch.device("cpu"))  # a second time does nothing
    assert (distributed.rank(), distributed.world(), distributed.is_main()) == (rank, 2, rank == 0)
    assert distributed.count_over_processes(torch.tensor([3, 4][rank])) == 3.5
    assert distributed.count_over_processes(torch.tensor(0)) == 0.5  # 1 in total
    part = torch.tensor([1.0, 2.0][rank], requires_grad=True)
    total = distributed.sum_over_processes(part)
    total.square().backward()  # d/dpart of (1 + 2)², times the number of processes
    assert total == 3
    assert part.grad == 2 * 3 * 2
    assert distributed.gather({"rank": rank}) == [{"rank": 0}, {"rank": 1}]
    assert distributed.from_main(f"from {rank}") == "from 0"
    flags = distributed.any_process((rank == 1, False, rank == 0), torch.device("cpu"))
    assert flags == (True, False, True)
    distributed.barrier()
    (folder / str(rank)).touch()


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_two_processes(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.start_processes(two, args=(port, tmp_path), nprocs=2, start_method="fork")  # spawning imports torch twice
    assert {path.name for path in tmp_path.iterdir()} == {"0", "1"}
