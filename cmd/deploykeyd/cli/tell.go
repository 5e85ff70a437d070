package cli

import (
	"context"
	"fmt"
	"time"
)

// tellEvery is how often the service manager is told how far the daemon is,
// where its watchdog does not want to hear more often.
const tellEvery = 10 * time.Second

// tell keeps the service manager informed until ctx ends: that the daemon is
// alive, which takes more than a running process, and how far it is.
func (d *daemon) tell(ctx context.Context) {
	every := tellEvery
	if w := d.handover.manager.Watchdog(); w > 0 {
		every = min(every, w)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		status := d.agent.Status() // hangs when the life cycle does
		d.handover.alive(fmt.Sprintf("%s: %d of %d repositories verified", status.Phase, countVerified(status), len(status.Repositories)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
