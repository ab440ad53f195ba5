"""Where state lives: the table, and the bucket for what is too large for it."""

from __future__ import annotations

from datetime import timedelta

import aws_cdk as cdk
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct

from stepbridge.aws import schema
from stepbridge.cdk.durations import duration


class State(Construct):
    """One app's table and bucket.

    Args:
        scope: The app's construct.
        construct_id: Within it.
        blob_life: A value is written at a run's start at the earliest, and read until its records go.
        kms_key: Encrypts both; None: keys of AWS.
        removal_policy: Of both, when the stack is deleted.
        deletion_protection: The table cannot be deleted at all while it is on.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        blob_life: timedelta,
        kms_key: kms.IKey | None,
        removal_policy: cdk.RemovalPolicy,
        deletion_protection: bool,
    ) -> None:
        super().__init__(scope, construct_id)
        # Not `TableV2`: for its replicas it asks for a stack of one region where there is a customer key, and
        # all that an app else has lives in one region anyway.
        self.table = dynamodb.Table(
            self,
            "Table",
            partition_key=_key(schema.PARTITION_KEY),
            sort_key=_key(schema.SORT_KEY),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            time_to_live_attribute=schema.TTL,
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=dynamodb.TableEncryption.CUSTOMER_MANAGED if kms_key else dynamodb.TableEncryption.DEFAULT,
            encryption_key=kms_key,
            deletion_protection=deletion_protection,
            removal_policy=removal_policy,
        )
        self.table.add_global_secondary_index(
            index_name=schema.INDEX,
            partition_key=_key(schema.INDEX_PARTITION_KEY),
            sort_key=_key(schema.INDEX_SORT_KEY),
            projection_type=dynamodb.ProjectionType.INCLUDE,
            non_key_attributes=list(schema.INDEX_ATTRIBUTES),
        )
        # No versioning: a value is written once, under a name that is its hash, and never overwritten.
        self.bucket = s3.Bucket(
            self,
            "Blobs",
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            encryption=s3.BucketEncryption.KMS if kms_key else s3.BucketEncryption.S3_MANAGED,
            encryption_key=kms_key,
            bucket_key_enabled=True if kms_key else None,
            enforce_ssl=True,
            versioned=False,
            lifecycle_rules=[
                s3.LifecycleRule(
                    expiration=duration(blob_life), abort_incomplete_multipart_upload_after=cdk.Duration.days(1)
                )
            ],
            removal_policy=removal_policy,
        )


def _key(name: str) -> dynamodb.Attribute:
    return dynamodb.Attribute(name=name, type=dynamodb.AttributeType.STRING)
