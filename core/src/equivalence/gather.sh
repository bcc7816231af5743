LC_ALL=C; export LC_ALL
echo @os
cat "$root/etc/os-release" 2>/dev/null || cat "$root/usr/lib/os-release" 2>/dev/null
echo
echo @passwd
cat "$root/etc/passwd" 2>/dev/null
echo @group
cat "$root/etc/group" 2>/dev/null
echo @shadow
[ ! -r "$root/etc/shadow" ] || awk -F: '{ s = "set"; if ($2 == "") s = "none"; if ($2 ~ /^[!*]/) s = "locked"; print $1 ":" s }' "$root/etc/shadow"
echo @packages
if [ -r "$root/var/lib/dpkg/status" ]; then
    awk '
        function flush() { if (status ~ /installed$/ && status !~ /not-installed$/) print name ":" arch "\t" version; name = ""; status = "" }
        /^Package: / { name = $2 }
        /^Status: / { status = $0 }
        /^Architecture: / { arch = $2 }
        /^Version: / { version = $2 }
        /^$/ { flush() }
        END { flush() }' "$root/var/lib/dpkg/status"
elif [ -r "$root/lib/apk/db/installed" ]; then
    awk -F: '/^P:/ { name = $2 } /^V:/ { version = $2 } /^A:/ { print name ":" $2 "\t" version }' "$root/lib/apk/db/installed"
elif [ -d "$root/var/lib/rpm" ] || [ -d "$root/usr/lib/sysimage/rpm" ]; then
    rpm ${root:+--root "$root"} -qa --qf '%{NAME}:%{ARCH}\t%{EPOCH}:%{VERSION}-%{RELEASE}\n' | sed 's/\t(none):/\t/'
fi
echo @units
if command -v systemctl >/dev/null; then
    systemctl --root="$root/" list-unit-files --no-legend --no-pager 2>/dev/null |
        awk '$2 == "enabled" || $2 == "masked" || $2 == "linked" { print $1, $2 }'
fi
# `pick ACTION...`: find with what lives in memory only left out.
pick() {
    find "$root/" -xdev \( -path "$root/proc/*" -o -path "$root/sys/*" -o -path "$root/dev/*" -o -path "$root/run/*" -o -path "$root/tmp/*" \) -prune -o "$@"
}
echo @odd
pick -name '*
*' -print | head -n 1
echo @files
strip=$(printf '%s' "$root" | wc -c)
if find / -maxdepth 0 -printf '' 2>/dev/null; then
    pick -printf '%y\001%m\001%U\001%G\001%l\001/%P\n'
else
    pick -exec sh -c '
        s=$(printf "\001"); strip=$1; shift
        for f; do
            kind=$(stat -c %F "$f"); target=
            case $kind in
            *symbolic*) kind=l target=$(readlink "$f") ;;
            *directory*) kind=d ;;
            *regular*) kind=f ;;
            *) kind=s ;;
            esac
            p=$(printf %s "$f" | tail -c +$((strip + 1)))
            printf "%s$s%s$s/%s\n" "$kind" "$(stat -c "%a$s%u$s%g" "$f")$s$target" "${p#/}"
        done' sh "$strip" {} +
fi
echo @digests
if [ -n "$root" ]; then
    (cd "$root/" && root=. && pick -type f -exec sha256sum {} +) | sed 's|  \./|  /|'
else
    pick -type f -exec sha256sum {} +
fi
echo @end
