#!/bin/sh
echo "A=$A $(id -un)"
