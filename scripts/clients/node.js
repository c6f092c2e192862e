#!/usr/bin/env node
// SPDX-License-Identifier: GPL-2.0
// A child process for each process: reads in Node's thread pool would block each other.
const { spawn } = require("child_process");

const paths = process.argv.slice(2);
let exits = 0;

for (const path of paths)
	spawn("cat", [path], { stdio: "inherit" }).on("exit", (code) => {
		if (code !== 0)
			process.exit(1);
		if (++exits === paths.length)
			console.log(`${exits} exits`);
	});
