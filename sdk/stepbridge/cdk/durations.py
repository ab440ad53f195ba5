"""Spans of time, as CDK has them."""

from __future__ import annotations

from datetime import timedelta

import aws_cdk as cdk


def duration(span: timedelta) -> cdk.Duration:
    """The same span; in days where it is whole days, which S3 asks for."""
    if span % timedelta(days=1):
        return cdk.Duration.seconds(span.total_seconds())
    return cdk.Duration.days(span.days)
