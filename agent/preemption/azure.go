package preemption

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

const (
	azureEventsPath = "/metadata/scheduledevents?api-version=2020-07-01"
	azureNamePath   = "/metadata/instance/compute?api-version=2021-02-01"

	// azureFirst is how long the first list may take, which switches the service
	// on ("Scheduled Events for Linux VMs": up to two minutes).
	azureFirst = 130 * time.Second
	// azurePause leaves most of the 30 seconds that a preemption gives.
	azurePause = time.Second
)

// azureEvents asks for the events of the whole placement group.
type azureEvents struct {
	client  *client
	machine string // its name among the resources
	on      bool   // the list was had once
}

func (c *client) azure() []question {
	a := &azureEvents{client: c}
	return []question{{"scheduled events", a.ask, azurePause}}
}

// azureHeader must be there, so that no redirected request counts.
func azureHeader() map[string]string { return map[string]string{"Metadata": "true"} }

func (a *azureEvents) ask(ctx context.Context) (*Notice, error) {
	if a.machine == "" {
		if err := a.learnName(ctx); err != nil {
			return nil, err
		}
	}
	within := quickReply
	if !a.on {
		within = azureFirst
	}
	r, err := a.client.do(ctx, call{path: azureEventsPath, header: azureHeader(), within: within})
	switch {
	case err != nil:
		return nil, err
	case r.status != http.StatusOK:
		return nil, unexpected(r)
	}
	n, err := a.read(r.body)
	a.on = a.on || err == nil
	return n, err
}

// learnName reads the name by which events speak of this machine.
func (a *azureEvents) learnName(ctx context.Context) error {
	r, err := a.client.do(ctx, call{path: azureNamePath, header: azureHeader(), within: quickReply})
	if err != nil {
		return err
	}
	if r.status != http.StatusOK {
		return unexpected(r)
	}
	var compute struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(r.body, &compute) != nil || compute.Name == "" {
		return errors.New("the machine's name is not in the JSON that Microsoft documents")
	}
	a.machine = compute.Name
	return nil
}

// azureEvent is one of the list, as far as it is read.
type azureEvent struct {
	ID        string   `json:"EventId"`
	Type      string   `json:"EventType"`
	Resources []string `json:"Resources"`
	NotBefore string   `json:"NotBefore"`
}

// read finds the first event that takes this machine away. Freeze, Reboot and
// Redeploy do not: the machine goes on, or starts anew as itself.
func (a *azureEvents) read(body []byte) (*Notice, error) {
	var list struct {
		Events *[]azureEvent `json:"Events"`
	}
	if json.Unmarshal(body, &list) != nil || list.Events == nil {
		return nil, errors.New("the list of events is not the JSON that Microsoft documents")
	}
	for _, e := range *list.Events {
		mine := slices.ContainsFunc(e.Resources, func(name string) bool { return strings.EqualFold(name, a.machine) })
		if !mine || e.Type != "Preempt" && e.Type != "Terminate" {
			continue
		}
		n := &Notice{
			Cloud: Azure, Reason: "scheduled event: " + e.Type, Deadline: time.Now(),
			Shared: len(e.Resources) > 1, event: e.ID,
		}
		// Empty once the event has begun: "Mon, 19 Sep 2016 18:29:47 GMT" before.
		if at, err := http.ParseTime(e.NotBefore); err == nil {
			n.Deadline = at
		}
		return n, nil
	}
	return nil, nil //nolint:nilnil // nothing is planned for this machine
}

// Acknowledge tells the cloud that the machine need not be waited for, where it
// can be told: on Azure. A notice that is shared is left alone, since the word
// would be for every machine that it names. Nothing to tell is no error.
func Acknowledge(ctx context.Context, o Options, n Notice) error {
	if n.event == "" || n.Shared {
		return nil
	}
	client, err := newClient(o.Endpoint)
	if err != nil {
		return err
	}
	defer client.http.CloseIdleConnections()
	type start struct {
		EventID string `json:"EventId"`
	}
	body, err := json.Marshal(map[string][]start{"StartRequests": {{n.event}}})
	if err != nil {
		return errors.New("the acknowledgement cannot be written as JSON")
	}
	r, err := client.do(ctx, call{
		method: http.MethodPost, path: azureEventsPath, header: azureHeader(), body: string(body), within: quickReply,
	})
	if err == nil && r.status != http.StatusOK {
		err = unexpected(r)
	}
	return err
}
