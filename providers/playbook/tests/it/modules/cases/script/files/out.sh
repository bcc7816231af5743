#!/bin/sh
printf "%s|" "$#" "$@"; echo; echo err >&2
