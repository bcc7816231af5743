#!/bin/sh
echo "args: $# $1 $2"; pwd >&2
