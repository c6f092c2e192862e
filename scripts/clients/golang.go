// SPDX-License-Identifier: GPL-2.0

// One goroutine for each process, as in README.md.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
)

func main() {
	done := make(chan error)
	for _, path := range os.Args[1:] {
		go func(path string) {
			file, err := os.Open(path)
			if err == nil {
				_, err = io.Copy(io.Discard, file)
			}
			done <- err
		}(path)
	}
	for range os.Args[1:] {
		if err := <-done; err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println(len(os.Args)-1, "exits")
}
