#!/bin/sh
# Makes a machine ready to be an image, as root and as the last step: no key of it
# stays on a forge, and no machine that is made of the image takes itself for it.
# Fails, and with it the image, when keys may remain.
set -eu

# The stop of the service revokes; the command settles what that could not.
if systemctl is-active --quiet deploykeyd.service; then
	systemctl stop deploykeyd.service
fi
deploykeyd revoke --timeout 60s
deploykeyd service reset

# Whoever reads an image has its credentials: one that is to carry any gets them
# after this.
find /etc/deploykeyd/credentials -mindepth 1 -delete
cloud-init clean --logs --machine-id
