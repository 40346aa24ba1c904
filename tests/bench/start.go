package main

import (
	"bufio"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/liveapid/liveapid/protocol/plugin"
)

// start measures the time from the start of a worker to its handshake, when the host can connect to it. It compares
// this time with that of a program that only prints its help.
func (b *bench) start() error {
	n := b.times(100)
	var worker, bare samples
	var now string
	for range n {
		cmd := exec.Command(filepath.Join(b.bin, "liveapi-email"))
		cmd.Env = []string{plugin.Handshake().MagicCookieKey + "=" + plugin.Handshake().MagicCookieValue, "PLUGIN_PROTOCOL_VERSIONS=1", "TMPDIR=" + b.scratch}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		begin := time.Now()
		if err := cmd.Start(); err != nil {
			return err
		}
		_, err = bufio.NewReader(out).ReadString('\n')
		worker = append(worker, time.Since(begin))
		now, _ = memory(cmd.Process.Pid)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if err != nil {
			return err
		}
		s, err := timed(1, func() error { return exec.Command("/bin/true").Run() })
		if err != nil {
			return err
		}
		bare = append(bare, s...)
	}
	table("The start of a worker", []string{"what", "median", "p99", "ratio to /bin/true", "resident"}, [][]string{
		{"liveapi-email, from its start to its handshake", ms(worker.median()), ms(worker.p99()), ratio(float64(worker.median()), float64(bare.median())), now},
		{"/bin/true, from its start to its end", ms(bare.median()), ms(bare.p99()), "1", ""},
	})
	return nil
}
