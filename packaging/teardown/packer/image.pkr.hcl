# A part of a template: the last provisioner of the build.
build {
  sources = ["source.amazon-ebs.builder"]

  provisioner "shell" {
    script          = "${path.root}/seal.sh"
    execute_command = "sudo sh '{{ .Path }}'"
  }
}
