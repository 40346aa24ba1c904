package daemon

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sys/unix"
)

// reloadOn reloads the host after each signal until ctx ends, and notifies systemd when a reload begins and
// ends.
func (rt *Runtime) reloadOn(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
		}
		// systemd requires the time at which the reload began, as given by the monotonic clock.
		var now unix.Timespec
		_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &now)
		notify(rt.log, fmt.Sprintf("%s\nMONOTONIC_USEC=%d", systemd.SdNotifyReloading, now.Nano()/1000))
		if err := rt.Reload(ctx); err != nil {
			rt.log.Error("reload failed; nothing was changed", "error", err.Error())
		}
		notify(rt.log, systemd.SdNotifyReady)
	}
}

// watchdog notifies systemd twice in each watchdog interval that the host is alive. Before each notification
// it reads the host's status, which needs the same locks as every call: if the host is deadlocked, the
// notification is not sent and systemd restarts the host.
func (rt *Runtime) watchdog(ctx context.Context) {
	interval, err := systemd.SdWatchdogEnabled(false)
	if err != nil || interval <= 0 {
		return
	}
	tick := time.NewTicker(interval / 2)
	defer tick.Stop()
	for {
		s := rt.Status()
		notify(rt.log, systemd.SdNotifyWatchdog)
		notify(rt.log, fmt.Sprintf("STATUS=%d accounts, %d sessions, %d workers, %d calls", s.Accounts, s.Sessions, s.Workers, s.Calls))
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// notify sends state to systemd. It does nothing if systemd did not start the host.
func notify(log *slog.Logger, state string) {
	if _, err := systemd.SdNotify(false, state); err != nil {
		log.Warn("can't notify systemd", "error", err.Error())
	}
}
