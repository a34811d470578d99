"""What is checked about a cluster before anything is submitted: one line now, instead of a job that fails at night."""

from collections.abc import Sequence

from .cluster import Cluster
from .tasks import Task


def check(cluster: Cluster, tasks: Sequence[Task]) -> None:
    """Raises ValueError, in one line, for what this cluster cannot do."""
