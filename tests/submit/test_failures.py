"""Every way in which a job can fail is one exception with a sentence that helps."""

from __future__ import annotations

import pytest

from flowgrid.errors import (
    FlowGridError,
    InputError,
    JobCancelledError,
    JobError,
    NoExecutorsError,
    OutOfMemoryError,
    UserCodeError,
)
from flowgrid.ids import JobId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import JobFailed
from flowgrid.submit.failures import raise_failure

EXPECTED = {
    FailureKind.USER_ERROR: UserCodeError,
    FailureKind.OUT_OF_MEMORY: OutOfMemoryError,
    FailureKind.NO_EXECUTORS: NoExecutorsError,
    FailureKind.CANCELLED: JobCancelledError,
    FailureKind.DRIVER_LOST: JobCancelledError,
    FailureKind.INPUT_MISSING: InputError,
    FailureKind.INPUT_CHANGED: InputError,
    FailureKind.INPUT_INVALID: InputError,
}


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_failure_says_what_and_where(kind: FailureKind) -> None:
    failed = JobFailed(JobId(7), Failure(kind, "it broke"), "stage 2, task 13")

    with pytest.raises(FlowGridError) as caught:
        raise_failure(failed)

    assert type(caught.value) is EXPECTED.get(kind, JobError)
    assert str(caught.value).startswith("it broke (in job-7, stage 2, task 13)")
    if isinstance(caught.value, JobError):
        assert caught.value.kind == kind


@pytest.mark.parametrize("kind", [FailureKind.USER_ERROR, FailureKind.OUT_OF_MEMORY])
def test_the_users_traceback_comes_last(kind: FailureKind) -> None:
    traceback = 'Traceback …\n  File "app.py", line 3, in clean\nValueError: no\n'
    failed = JobFailed(JobId(1), Failure(kind, "clean raised", traceback))

    with pytest.raises(JobError) as caught:
        raise_failure(failed)

    assert str(caught.value).endswith("in clean\nValueError: no")
    assert caught.value.traceback == traceback
