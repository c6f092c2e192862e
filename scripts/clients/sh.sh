#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One cat for each process.
for pid; do
	cat "/proc/$pid/exithand" &
	cats="$cats $!"
done
for cat in $cats; do
	wait "$cat" || exit
done
echo "$# exits"
