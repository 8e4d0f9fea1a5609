import subprocess
import sys

import pytest

# Page faults of ten rounds that take 64 tensors of 1 MB and free them again.
SCRIPT = """
import resource, torch
from compvae_pyg.runtime import keep_freed_memory

def use():
    held = [torch.zeros(2**18) for _ in range(64)]

assert keep_freed_memory()
use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    use()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="glibc's")
def test_freed_memory_is_not_asked_of_the_system_again():
    faults = subprocess.check_output([sys.executable, "-c", SCRIPT], text=True)
    # Ten times 64 MB are 163,840 pages; a few the allocator takes anew.
    assert int(faults) < 5_000
