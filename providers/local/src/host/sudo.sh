#!/bin/sh
# sudo of a towpath local host: everybody is root here already, so the command simply runs. Flags are read as sudo reads them.
user=root shell= login= home=
while [ $# -gt 0 ]; do
    case $1 in
    --) shift; break ;;
    -u | -g | -p | -C | -h | -r | -t | -T | -U | -D | -R)
        [ "$1" = -u ] && user=$2
        [ "$1" = -D ] && { cd "$2" || exit 1; }
        shift 2 ;;
    --user=*) user=${1#*=}; shift ;;
    --user) user=$2; shift 2 ;;
    --group | --prompt | --close-from | --host | --role | --type | --command-timeout | --other-user) shift 2 ;;
    --chdir=*) cd "${1#*=}" || exit 1; shift ;;
    --login) login=1; shift ;;
    --shell) shell=1; shift ;;
    --set-home) home=1; shift ;;
    --validate | --remove-timestamp | --reset-timestamp | --version) exit 0 ;;
    --*) shift ;;
    -v | -K | -V) exit 0 ;;
    -k) shift; [ $# -eq 0 ] && exit 0 ;;
    -l) shift; [ $# -eq 0 ] && echo '(ALL) NOPASSWD: ALL'; exit 0 ;;
    -u*) user=${1#-u}; shift ;;
    -p* | -g* | -C* | -h* | -D*) shift ;;
    -*)
        case $1 in *i*) login=1 ;; esac
        case $1 in *s*) shell=1 ;; esac
        case $1 in *H*) home=1 ;; esac
        last=${1#"${1%?}"} rest=${1%?}
        shift
        # A cluster may end in a flag that takes a value: `-nu root`.
        case $last in
        u) [ "$rest" = - ] || { user=$1; shift; } ;;
        p | g | C | h | r | t | T | U | D | R) [ $# -gt 0 ] && shift ;;
        esac ;;
    *=*) export "$1"; shift ;;
    *) break ;;
    esac
done
entry=$(grep -m1 "^$user:" /etc/passwd 2>/dev/null)
if [ -z "$entry" ]; then
    case $user in
    root | 0 | '#0') entry=root:x:0:0:root:/root:/bin/sh ;;
    *) echo "sudo: unknown user $user" >&2; exit 1 ;;
    esac
fi
sh=${entry##*:} dir=${entry%:*}; dir=${dir##*:}
case $sh in */nologin | */false | '') sh=/bin/sh ;; esac
SUDO_USER=${SUDO_USER:-${USER:-root}} SUDO_UID=0 SUDO_GID=0 SUDO_COMMAND=$*
USER=$user LOGNAME=$user
export SUDO_USER SUDO_UID SUDO_GID SUDO_COMMAND USER LOGNAME
[ -d "$dir" ] && [ -n "$home$login" ] && export HOME="$dir"
if [ -n "$login" ]; then
    cd "$HOME" 2>/dev/null || cd /
fi
if [ -n "$login$shell" ]; then
    [ $# -gt 0 ] || exec "$sh"
    exec "$sh" -c 'exec "$@"' "$sh" "$@"
fi
[ $# -gt 0 ] || { echo "usage: sudo [-u user] command" >&2; exit 1; }
exec "$@"
