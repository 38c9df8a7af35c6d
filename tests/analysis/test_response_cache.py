"""A response cache of planted truth: what repeats, what could be answered, what Triton counted, and what it gained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from encoder_run import engine
from hypothesis import given
from hypothesis import strategies as st
from synthetic_run import MS, S, environment, request_of, samples_of

from trtbench.analysis.batching import triton_batching
from trtbench.analysis.response_cache import cached_stage, find_repeats, read_prompts
from trtbench.analysis.summary import Summary, summarise
from trtbench.records import Event, Outcome, RequestRecord, Sample
from trtbench.report.document import render_markdown
from trtbench.rundir import LineWriter, RunDirectory, sample_row
from trtbench.scenario import Scenario, parse_scenario
