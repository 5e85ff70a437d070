package credential

import (
	"net/http"
	"testing"
	"time"
)

// FuzzReplies feeds what a forge may answer to an exchange.
func FuzzReplies(f *testing.F) {
	const media = "application/json"
	f.Add(201, media, dateHeader, "", "", []byte(tokenReply))
	f.Add(200, media, dateHeader, "", "", []byte(foundReply))
	f.Add(200, media, "", "", "", []byte(`{"access_token":"abc","token_type":"bearer","expires_in":7200}`))
	f.Add(400, media, "", "", "", []byte(`{"error":"invalid_client","error_description":"no\nsuch"}`))
	f.Add(401, media, dateHeader, "", "", []byte(`{"message":"\u0000'exp'"}`))
	f.Add(403, media, "yesterday", "-1", "18446744073709551616", []byte(`{"message":`))
	f.Add(429, "text/html; charset=;", dateHeader, dateHeader, "0", []byte("<html>"))
	f.Fuzz(func(t *testing.T, status int, media, date, retryAfter, reset string, body []byte) {
		reply := answer{status, http.Header{
			"Content-Type": {media}, "Date": {date}, "Retry-After": {retryAfter},
			"X-Ratelimit-Reset": {reset}, "X-Ratelimit-Remaining": {"0"},
		}, body}
		x := &appExchange{appState: &appState{AppOptions: appOptions()}}
		client := oauthClient{&OAuthOptions{ID: "1", Secret: Env("X")}}
		for _, e := range []*Error{x.refused(reply, theToken, "no"), client.refused(reply, theToken)} {
			if e.Reason == "" || e.Next == "" || e.RetryAfter < 0 || e.RetryAfter > longestAsked {
				t.Errorf("gives %+v", e)
			}
			oneLine(t, e, theToken)
		}
		now := time.Now()
		for _, read := range []func(answer, time.Time) (Secret, *Error){readGrant, readInstallationToken} {
			secret, e := read(reply, now)
			if secret.IsZero() == (e == nil) {
				t.Fatalf("gives both or none: %v", e)
			}
			if e != nil {
				oneLine(t, e)
				continue
			}
			if again, err := parse([]byte(secret.Reveal())); err != nil || !again.Equal(secret) {
				t.Errorf("a token that cannot be sent: %v", err)
			}
			if ends := secret.Expires(); !ends.IsZero() && (!ends.After(now) || ends.Sub(now) > longestLife) {
				t.Errorf("ends %v from now", ends.Sub(now))
			}
		}
		if id, e := readInstallation(reply); (id <= 0) == (e == nil) {
			t.Errorf("gives %d, %v", id, e)
		}
	})
}
