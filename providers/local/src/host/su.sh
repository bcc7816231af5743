#!/bin/sh
# su of a towpath local host: everybody is root here already, so the shell simply runs.
user= login= command= has_command= sh=
while [ $# -gt 0 ]; do
    case $1 in
    - | -l | --login) login=1; shift ;;
    -c | --command) command=$2 has_command=1; shift 2 ;;
    --command=*) command=${1#*=} has_command=1; shift ;;
    -s | --shell) sh=$2; shift 2 ;;
    --shell=*) sh=${1#*=}; shift ;;
    -g | -G | --group | --supp-group | -w) shift 2 ;;
    --) shift; break ;;
    -*) shift ;;
    *) if [ -z "$user" ]; then user=$1; shift; else break; fi ;;
    esac
done
user=${user:-root}
entry=$(grep -m1 "^$user:" /etc/passwd 2>/dev/null)
if [ -z "$entry" ]; then
    case $user in
    root) entry=root:x:0:0:root:/root:/bin/sh ;;
    *) echo "su: user $user does not exist" >&2; exit 1 ;;
    esac
fi
own=${entry##*:} dir=${entry%:*}; dir=${dir##*:}
sh=${sh:-$own}
case $sh in */nologin | */false | '') sh=/bin/sh ;; esac
USER=$user LOGNAME=$user
export USER LOGNAME
[ -d "$dir" ] && export HOME="$dir"
if [ -n "$login" ]; then
    cd "$HOME" 2>/dev/null || cd /
fi
if [ -n "$has_command" ]; then exec "$sh" -c "$command" "$@"; fi
exec "$sh" "$@"
