package preemption

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	gcpRoot = "/computeMetadata/v1/instance/"

	// gcpWait is how long the service holds a request back until the value
	// changes; then it answers with the value as it is (Google Cloud, "About VM
	// metadata", wait_for_change and timeout_sec).
	gcpWait = 60 * time.Second
	// gcpPause keeps a service that does not wait from being asked in a circle.
	gcpPause = time.Second
)

// gcpItem is one value that the service tells changes of.
type gcpItem struct {
	client *client
	name   string
	read   func(value string) (*Notice, error)
	etag   string // of the value that was read last
}

// gcp asks for both values at once. MIGRATE_ON_HOST_MAINTENANCE is no notice: the
// machine is moved as it runs. Asking for maintenance-event has an effect:
// Compute Engine gives the warning of 60 seconds only to machines that have asked
// ("Query metadata server for maintenance event notices").
func (c *client) gcp() []question {
	preempted := &gcpItem{client: c, name: "preempted", read: gcpPreempted}
	maintenance := &gcpItem{client: c, name: "maintenance-event", read: gcpMaintenance}
	return []question{
		{"preemption", preempted.ask, gcpPause},
		{"maintenance", maintenance.ask, gcpPause},
	}
}

var gcpETag = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// ask waits for a change of the value that was read before. The first question,
// and one after trouble, does not wait: the change may have been already.
func (i *gcpItem) ask(ctx context.Context) (*Notice, error) {
	q := call{
		path: gcpRoot + i.name, within: quickReply,
		header: map[string]string{"Metadata-Flavor": "Google"},
	}
	if i.etag != "" {
		q.path += "?" + url.Values{
			"wait_for_change": {"true"}, "timeout_sec": {strconv.Itoa(int(gcpWait.Seconds()))}, "last_etag": {i.etag},
		}.Encode()
		q.within += gcpWait
	}
	i.etag = ""
	r, err := i.client.do(ctx, q)
	switch {
	case err != nil:
		return nil, err
	case r.header.Get("Metadata-Flavor") != "Google":
		return nil, errors.New("the reply is not of Google's metadata service: no Metadata-Flavor")
	case r.status != http.StatusOK: // 503 while the service is moved too
		return nil, unexpected(r)
	}
	n, err := i.read(strings.TrimSpace(string(r.body)))
	if etag := r.header.Get("ETag"); err == nil && gcpETag.MatchString(etag) {
		i.etag = etag
	}
	return n, err
}

// gcpPreempted reads the word that turns when a preemption begins: the machine
// has 30 seconds from then ("Spot VMs", preemption process).
func gcpPreempted(value string) (*Notice, error) {
	switch value {
	case "TRUE":
		return &Notice{Cloud: GCP, Reason: "preempted", Deadline: time.Now().Add(30 * time.Second)}, nil
	case "FALSE":
		return nil, nil //nolint:nilnil // nothing is planned
	}
	return nil, errors.New("preempted is neither TRUE nor FALSE")
}

func gcpMaintenance(value string) (*Notice, error) {
	switch value {
	case "TERMINATE_ON_HOST_MAINTENANCE":
		return &Notice{Cloud: GCP, Reason: "host maintenance", Deadline: time.Now().Add(60 * time.Second)}, nil
	case "NONE", "MIGRATE_ON_HOST_MAINTENANCE":
		return nil, nil //nolint:nilnil // the machine stays
	}
	return nil, errors.New("the maintenance event is none that Google documents")
}
