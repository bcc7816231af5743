# Writes the whole root tree to standard output. Set before: exclude (words in quotes).
LC_ALL=C
export LC_ALL
command -v tar >/dev/null || { echo "tar: not found" >&2; exit 127; }
case "$(tar --version 2>/dev/null)" in
*GNU*) ;;
*) echo "the whole tree is read with GNU tar; this host has another one" >&2; exit 3 ;;
esac
cd / || exit 2
set -- .
# File systems of their own that belong to the tree, and single files that were laid over it.
while read -r _ at type _; do
  at=$(printf '%b' "$at")
  case "$at" in
  / | /proc | /proc/* | /sys | /sys/* | /dev | /dev/* | /run | /run/* | /tmp | /tmp/* | /mnt/* | /media/* | /var/lib/docker/*) continue ;;
  esac
  if [ ! -d "$at" ]; then
    set -- "--exclude=.$at" "$@"
    continue
  fi
  case "$type" in
  ext2 | ext3 | ext4 | xfs | btrfs | f2fs | jfs | reiserfs | zfs | vfat) set -- "$@" ".$at" ;;
  esac
done </proc/self/mounts
eval "tar -cf - --numeric-owner --one-file-system --no-wildcards --anchored --xattrs --xattrs-include='security.*' --xattrs-include='user.*' $exclude \"\$@\""
code=$?
# 1 is a file that changed while it was read, as logs do.
if [ "$code" = 1 ]; then code=0; fi
exit "$code"
