#!/bin/sh
# Makes the root file system of the image that the project's tests run payloads in: Debian 12, minbase, with Python 3.11.
#
# usage: build.sh FOLDER      (as root; needs debootstrap and a Debian mirror)
# makes: FOLDER/rootfs        the tree itself
#        FOLDER/rootfs.tar    the same for `docker import` and `podman import`
# A build that was interrupted leaves neither.
set -eu
[ $# -eq 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
umask 022
mkdir -p "$1"
out=$(cd "$1" && pwd)
new="$out/rootfs.new"
rm -rf --one-file-system "$new"
try=1
until debootstrap --variant=minbase --include=python3 bookworm "$new" >"$out/debootstrap.log" 2>&1; do
    tail -n 20 "$new/debootstrap/debootstrap.log" "$out/debootstrap.log" >&2 || true
    rm -rf --one-file-system "$new"
    [ $try -lt 3 ] || exit 1
    try=$((try + 1))
done
# What no payload reads is left out: the image is imported several times in each test run.
rm -rf "$new"/var/cache/apt/* "$new"/var/lib/apt/lists/* "$new"/var/log/* \
    "$new"/usr/share/doc/* "$new"/usr/share/man/* "$new"/usr/share/locale/* "$new"/usr/share/info/*
# A fixed name and a home for anybody, so that the tree does not depend on the machine that made it.
echo 'pilot-test' >"$new/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n' >"$new/etc/hosts"
: >"$new/etc/resolv.conf"
mkdir -p "$new/srv/job" "$new/cvmfs"
chmod 1777 "$new/srv/job"
tar -C "$new" --numeric-owner --sort=name -cf "$out/rootfs.tar.new" .
rm -rf --one-file-system "$out/rootfs"
mv "$new" "$out/rootfs"
mv "$out/rootfs.tar.new" "$out/rootfs.tar"
