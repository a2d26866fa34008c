#!/usr/bin/env bash
# Runs a command of the README (make demo) in a clone of this checkout on a Debian that has nothing but what the README
# asks for. Takes about five minutes; needs root and Debian's package debootstrap. SUITE=bookworm, COMMAND="make test".
set -euo pipefail
cd "$(dirname "$0")/.."
suite=${SUITE:-trixie}
command=${COMMAND:-make demo}
[ "$(id -u)" = 0 ] || { echo "make fresh needs root: it installs a Debian into a folder and enters it by chroot" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing: apt-get install debootstrap" >&2; exit 2; }

# The mirror that this machine uses itself.
mirror=${MIRROR:-$(find /etc/apt -name '*.sources' -o -name '*.list' | sort | xargs -r awk '
  !found && $1 == "URIs:" { print $2; found = 1 }
  !found && $1 == "deb" { for (i = 2; i <= NF; i++) if ($i ~ /^https?:/) { print $i; found = 1; break } }')}
debian=$(mktemp -d /var/tmp/autolabel-fresh.XXXXXX)
leave() {
  umount -l "$debian/proc" "$debian/dev" 2>/dev/null || true
  # Never through a mount that is still there.
  mountpoint -q "$debian/dev" || mountpoint -q "$debian/proc" || rm -rf --one-file-system "$debian"
}
trap leave EXIT

echo "installing Debian $suite ..."
debootstrap --variant=minbase --include=python3,python3-venv,make,ca-certificates "$suite" "$debian" ${mirror:+"$mirror"} \
  >"$debian.log" 2>&1 || { tail -n 3 "$debian.log"; exit 2; }
# How this machine reaches its package index: names, certificates, pip's settings, proxies.
cp /etc/resolv.conf /etc/hosts "$debian/etc/"
cp -L /etc/ssl/certs/ca-certificates.crt "$debian/etc/ssl/certs/"
[ ! -f /etc/pip.conf ] || cp /etc/pip.conf "$debian/etc/"
mkdir -p "$debian/home/stranger"
git clone --quiet . "$debian/home/stranger/autolabel"
mount -t proc proc "$debian/proc"
mount --rbind /dev "$debian/dev"
mount --make-rslave "$debian/dev"

bundle=/etc/ssl/certs/ca-certificates.crt
mapfile -t network < <(env | grep -iE '^(https?_proxy|no_proxy|pip_index_url|pip_default_timeout|npm_config_registry)=' || true)
echo "running $command ..."
env -i HOME=/home/stranger PATH=/usr/bin:/bin PIP_CERT=$bundle SSL_CERT_FILE=$bundle REQUESTS_CA_BUNDLE=$bundle \
  NODE_EXTRA_CA_CERTS=$bundle "${network[@]}" \
  /usr/sbin/chroot "$debian" /bin/bash -c "cd ~/autolabel && $command" </dev/null
echo "works on a fresh Debian $suite: $command"
