//go:build profile

package main

import "github.com/liveapid/liveapid/cmd/internal/profiling"

func init() { profiling.Start() }
