#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
# One cat for each process.
for file; do
	cat "$file" &
	cats="$cats $!"
done
for cat in $cats; do
	wait "$cat" || exit
done
echo "$# exits"
