# Revokes a machine's keys before Terraform destroys the machine. Keys that may
# remain stop the destroy, with the list; the machine stays.
#
#   module "revoke" {
#     source   = "./teardown/terraform"
#     script   = "${path.root}/teardown/revoke-over-ssh.sh"
#     target   = "admin@${aws_instance.builder.private_ip}"
#     instance = aws_instance.builder.id
#   }

terraform {
  required_version = ">= 1.4"
}

variable "script" {
  type        = string
  description = "The path of revoke-over-ssh.sh."
}

variable "target" {
  type        = string
  description = "The machine, as ssh is given it: user@host."
}

variable "instance" {
  type        = string
  description = "The machine's id: a new one means that the old machine goes."
}

variable "timeout" {
  type        = string
  default     = "60s"
  description = "How long the revocation may take."
}

variable "lists" {
  type        = string
  default     = "."
  description = "The folder for the lists of keys that may remain."
}

resource "terraform_data" "revoke" {
  # At destroy time nothing but what is kept here is known.
  input = {
    script  = abspath(var.script)
    target  = var.target
    timeout = var.timeout
    lists   = var.lists
  }
  triggers_replace = [var.instance]

  provisioner "local-exec" {
    when    = destroy
    command = "\"$SCRIPT\" \"$TARGET\" \"$TIMEOUT\""
    environment = {
      SCRIPT           = self.input.script
      TARGET           = self.input.target
      TIMEOUT          = self.input.timeout
      DEPLOYKEYD_LISTS = self.input.lists
    }
  }
}
