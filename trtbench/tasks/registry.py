"""The registry of tasks."""

from __future__ import annotations

from trtbench.tasks.embed import EMBED
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.infer import INFER
from trtbench.tasks.task import Task, TaskName

TASKS: dict[TaskName, Task] = {"generate": GENERATE, "embed": EMBED, "infer": INFER}
