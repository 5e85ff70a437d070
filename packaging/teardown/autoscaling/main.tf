# Holds a machine of an Auto Scaling group back from its end until it has revoked
# its keys, or until the time is over.

variable "group" {
  type        = string
  description = "The name of the Auto Scaling group."
}

variable "role" {
  type        = string
  description = "The name of the role in the machines' instance profile."
}

data "aws_autoscaling_group" "builders" {
  name = var.group
}

resource "aws_autoscaling_lifecycle_hook" "revoke" {
  name                   = "deploykeyd"
  autoscaling_group_name = var.group
  lifecycle_transition   = "autoscaling:EC2_INSTANCE_TERMINATING"
  # The grace that builds have after the notice, and the revocation, tried again
  # where keys remained.
  heartbeat_timeout = 300
  default_result    = "CONTINUE"
}

resource "aws_iam_role_policy" "complete" {
  name = "deploykeyd-complete-lifecycle"
  role = var.role
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = "autoscaling:CompleteLifecycleAction"
      Resource = data.aws_autoscaling_group.builders.arn
    }]
  })
}
