# Writes the configured tree to standard output. Set before: paths, exclude (words in quotes), changes.
LC_ALL=C
export LC_ALL
command -v tar >/dev/null || { echo "tar: not found" >&2; exit 127; }
gnu=
xattrs=
case "$(tar --version 2>/dev/null)" in
*GNU*)
  gnu=1
  # How an overlay marks a folder that hides the one below it.
  case "$(tar --help 2>/dev/null)" in *--xattrs-include*) xattrs="--xattrs --xattrs-include=user.overlay.opaque" ;; esac
  ;;
esac

# pack OPTIONS NAME... : those that exist here.
pack() {
  options=$1
  shift
  for name; do
    shift
    if [ -e "$name" ] || [ -L "$name" ]; then set -- "$@" "$name"; fi
  done
  [ $# -gt 0 ] || return 0
  eval "tar -cf - $options $exclude \"\$@\""
  code=$?
  # GNU tar: 1 is a file that changed while it was read, as logs do.
  if [ "$code" = 1 ] && [ -n "$gnu" ]; then code=0; fi
  [ "$code" = 0 ] || exit "$code"
}

if [ -n "${TOWPATH_ROOT:-}" ]; then
  # A local host that is a folder.
  cd "$TOWPATH_ROOT" || exit 2
  pack "" ./* ./.[!.]*
elif [ -d "$changes" ]; then
  # A local host that is a layer: what it changed, and what is its own.
  cd "$changes" || exit 2
  pack "$xattrs" ./*
  cd / || exit 2
  set --
  for name in ./* ./.[!.]*; do
    case "$name" in
    ./dev | ./nix | ./gnu | ./proc | ./run | ./snap | ./sys | ./tmp) continue ;;
    ./bin | ./sbin | ./lib*) if [ -L "$name" ]; then continue; fi ;;
    esac
    if [ ! -e "$changes/$name" ]; then set -- "$@" "$name"; fi
  done
  pack "" "$@"
else
  cd / || exit 2
  eval "set -- $paths"
  pack "" "$@"
fi
