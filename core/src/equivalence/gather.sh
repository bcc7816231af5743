LC_ALL=C; export LC_ALL
# Lines of files are set in by a blank, so that none looks like the name of a section, and the last one ends, too.
show() { [ ! -r "$1" ] || awk '{ print " " $0 }' "$1"; }
echo @os
if [ -r "$root/etc/os-release" ]; then show "$root/etc/os-release"; else show "$root/usr/lib/os-release"; fi
echo @passwd
show "$root/etc/passwd"
echo @group
show "$root/etc/group"
echo @shadow
[ ! -r "$root/etc/shadow" ] || awk -F: '{ s = "set"; if ($2 == "") s = "none"; if ($2 ~ /^[!*]/) s = "locked"; print " " $1 ":" s }' "$root/etc/shadow"
echo @packages
if [ -r "$root/var/lib/dpkg/status" ]; then
    awk '
        function flush() { if (status ~ / installed$/) print " " name ":" arch "\t" version; name = ""; status = "" }
        /^Package: / { name = $2 }
        /^Status: / { status = $0 }
        /^Architecture: / { arch = $2 }
        /^Version: / { version = $2 }
        /^$/ { flush() }
        END { flush() }' "$root/var/lib/dpkg/status"
elif [ -r "$root/lib/apk/db/installed" ]; then
    awk -F: '/^P:/ { name = $2 } /^V:/ { version = $2 } /^A:/ { print " " name ":" $2 "\t" version }' "$root/lib/apk/db/installed"
elif [ -d "$root/var/lib/rpm" ] || [ -d "$root/usr/lib/sysimage/rpm" ]; then
    if p=$(rpm ${root:+--root "$root"} -qa --qf ' %{NAME}:%{ARCH}\t%{EPOCH}:%{VERSION}-%{RELEASE}\n' 2>/dev/null); then
        printf '%s\n' "$p" | sed 's/\t(none):/\t/'
    else
        echo @unread
        echo " the packages: \`rpm\` is needed to read their database, here"
    fi
fi
# `pick ACTION...`: find with what lives in memory only left out.
pick() {
    find "$root/" -xdev \( -path "$root/proc/*" -o -path "$root/sys/*" -o -path "$root/dev/*" -o -path "$root/run/*" -o -path "$root/tmp/*" \) -prune -o "$@"
}
echo @odd
pick -name '*
*' -print | head -n 1 | sed 's/^/ /'
echo @files
strip=$(printf '%s' "$root" | wc -c)
if find / -maxdepth 0 -printf '' 2>/dev/null; then
    pick -printf ' %y\001%m\001%U\001%G\001%l\001/%P\n'
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
            printf " %s$s%s$s/%s\n" "$kind" "$(stat -c "%a$s%u$s%g" "$f")$s$target" "${p#/}"
        done' sh "$strip" {} +
fi
echo @digests
if [ -n "$root" ]; then
    (cd "$root/" && root=. && pick -type f -exec sha256sum {} +) | sed 's|  \./|  /|; s/^/ /'
else
    pick -type f -exec sha256sum {} + | sed 's/^/ /'
fi
echo @end
