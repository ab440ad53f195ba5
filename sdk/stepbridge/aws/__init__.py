"""The ports on AWS. Nothing outside this package and `local` names botocore."""
