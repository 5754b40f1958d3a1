"""What workers find in their environment, unless the user's own says otherwise."""

from collections.abc import Mapping

#: Threads that wait for each other sleep instead of spinning. Where other programs use the cores as well, a spinning
#: thread takes the time that the one it waits for needs: training on two threads beside one busy process took 2.8
#: times as long. On cores of its own, sleeping costs a little. It is read when torch is loaded.
ON_SHARED_CORES: Mapping[str, str] = {"OMP_WAIT_POLICY": "PASSIVE"}
