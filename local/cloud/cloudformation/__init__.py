"""CloudFormation resource types, and settings of resources, that ministack lacks."""
