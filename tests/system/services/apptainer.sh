#!/bin/sh
# Runs the apptainer of another Debian, whose libraries are newer than this machine's: its root, with this machine's
# folders at their own places in it. A change of root alone would not do: the kernel then refuses user namespaces.
# usage: APPTAINER_ROOT=FOLDER apptainer.sh WORD...     (as root)
exec unshare --mount --propagation private sh -ec '
root=$1 here=$2
shift 2
mount --bind "$root" "$root"
for top in /*; do
    case $top in /bin | /boot | /etc | /lib* | /sbin | /usr | /var) continue ;; esac
    if [ -d "$top" ] && [ ! -L "$top" ]; then
        mkdir -p "$root$top"
        mount --rbind "$top" "$root$top"
    fi
done
mount --rbind /var/tmp "$root/var/tmp"
for file in passwd group hosts resolv.conf; do
    [ ! -f "/etc/$file" ] || mount --bind "/etc/$file" "$root/etc/$file"
done
mkdir -p "$root/.old"
cd "$root"
pivot_root . .old
umount -l /.old
cd "$here"
export APPTAINER_USERNS=1
exec /usr/bin/apptainer "$@"' sh "$APPTAINER_ROOT" "$PWD" "$@"
