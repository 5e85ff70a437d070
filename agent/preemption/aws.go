package preemption

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	awsTokenPath     = "/latest/api/token"
	awsActionPath    = "/latest/meta-data/spot/instance-action"
	awsLifecyclePath = "/latest/meta-data/autoscaling/target-lifecycle-state"

	// awsTokenLife is the longest that a session may be asked for (Amazon EC2 user
	// guide, "Use the Instance Metadata Service to access instance metadata").
	awsTokenLife = 6 * time.Hour
	// awsPause is what Amazon recommends for spot notices ("Spot Instance
	// interruption notices").
	awsPause = 5 * time.Second
)

// awsSession asks with session tokens alone (IMDSv2): the form without, which
// anything can be tricked into asking, may be switched off.
type awsSession struct {
	client *client
	token  string
	since  time.Time
}

// aws asks for both notices in turn. Rebalance recommendations are none: they
// name a risk, and most machines that get one live on.
func (c *client) aws() []question {
	s := &awsSession{client: c}
	return []question{{"interruption", s.ask, awsPause}}
}

func (s *awsSession) ask(ctx context.Context) (*Notice, error) {
	if n, err := s.item(ctx, awsActionPath, awsAction); n != nil || err != nil {
		return n, err
	}
	return s.item(ctx, awsLifecyclePath, awsLifecycle)
}

// item reads one item, which is there only while something is planned, or on
// machines of an Auto Scaling group.
func (s *awsSession) item(ctx context.Context, path string, read func([]byte) (*Notice, error)) (*Notice, error) {
	r, err := s.get(ctx, path)
	if err == nil && r.status == http.StatusUnauthorized { // the session has ended
		s.token = ""
		r, err = s.get(ctx, path)
	}
	switch {
	case err != nil:
		return nil, err
	case r.status == http.StatusNotFound:
		return nil, nil //nolint:nilnil // nothing is planned
	case r.status != http.StatusOK:
		return nil, unexpected(r)
	}
	return read(r.body)
}

func (s *awsSession) get(ctx context.Context, path string) (reply, error) {
	if s.token == "" || time.Since(s.since) > awsTokenLife/2 {
		if err := s.open(ctx); err != nil {
			return reply{}, err
		}
	}
	return s.client.do(ctx, call{path: path, header: map[string]string{"X-aws-ec2-metadata-token": s.token}, within: quickReply})
}

// maxToken bounds a token in bytes; AWS makes them of 56.
const maxToken = 1000

var awsToken = regexp.MustCompile(`^[!-~]+$`)

// open begins a session.
func (s *awsSession) open(ctx context.Context) error {
	s.token = ""
	r, err := s.client.do(ctx, call{
		method: http.MethodPut, path: awsTokenPath, within: quickReply,
		header: map[string]string{"X-aws-ec2-metadata-token-ttl-seconds": strconv.Itoa(int(awsTokenLife.Seconds()))},
	})
	switch {
	case err != nil:
		return err
	case r.status != http.StatusOK:
		return unexpected(r)
	case len(r.body) > maxToken || !awsToken.Match(r.body):
		return errors.New("the session token is no token")
	}
	s.token, s.since = string(r.body), time.Now()
	return nil
}

// awsAction reads the notice of a spot instance, such as
// {"action": "terminate", "time": "2017-09-18T08:22:00Z"}. Hibernation counts: it
// writes the memory, and so the keys, to a disk. It comes without a lead.
func awsAction(body []byte) (*Notice, error) {
	var said struct {
		Action string `json:"action"`
		Time   string `json:"time"`
	}
	if json.Unmarshal(body, &said) != nil {
		return nil, errors.New("the spot notice is not the JSON that Amazon documents")
	}
	n := &Notice{Cloud: AWS, Reason: "spot: " + said.Action, Deadline: time.Now()}
	switch said.Action {
	case "hibernate":
		return n, nil
	case "stop", "terminate":
	default:
		return nil, errors.New("the spot notice names an action that is not known")
	}
	if at, err := time.Parse(time.RFC3339, said.Time); err == nil {
		n.Deadline = at
	} // without a time that can be read: hurry
	return n, nil
}

// awsLifecycle reads where a machine of an Auto Scaling group is going (Amazon
// EC2 Auto Scaling user guide, "Retrieve the target lifecycle state through
// instance metadata"). Warmed:Stopped is an orderly shutdown, and so no notice.
func awsLifecycle(body []byte) (*Notice, error) {
	switch state := strings.TrimSpace(string(body)); state {
	case "Terminated", "Warmed:Terminated", "Warmed:Hibernated":
		return &Notice{Cloud: AWS, Reason: "autoscaling: " + state}, nil
	case "InService", "Detached", "Standby", "Warmed:Stopped", "Warmed:Running":
		return nil, nil //nolint:nilnil // the machine stays, or shuts down by itself
	}
	return nil, errors.New("the target lifecycle state is none that Amazon documents")
}
