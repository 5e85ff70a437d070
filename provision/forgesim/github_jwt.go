package forgesim

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The words in which GitHub refuses a JWT, all with 401, as reports of many
// clients quote them.
const (
	jwtUndecodable = "A JSON web token could not be decoded"
	jwtIssuer      = "'Issuer' claim ('iss') must be an Integer"
	jwtExpired     = "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires"
	jwtTooFar      = "'Expiration time' claim ('exp') is too far in the future"
	jwtIssuedAt    = "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued"
)

// jwtLife is how far ahead of GitHub's clock a JWT may expire.
const jwtLife = 10 * time.Minute

// jwtClaims are the claims that GitHub asks for, as they were written.
type jwtClaims struct {
	Issuer   json.RawMessage `json:"iss"`
	IssuedAt json.RawMessage `json:"iat"`
	Expires  json.RawMessage `json:"exp"`
}

// appOf returns the App whose JWT a request carries. The forge's clock decides
// about times, to the second and without tolerance: GitHub promises none.
func (g github) appOf(f *Forge, c *call) (a *app, refusal reply, ok bool) {
	refuse := func(message string) (*app, reply, bool) {
		return nil, jsonReply(http.StatusUnauthorized, githubJSON, githubError{
			Message: message, Status: "401", DocumentationURL: githubDocs,
		}), false
	}
	token, bearer := c.secret("Bearer")
	claims, signed, signature, err := parseJWT(token)
	if !bearer || err != nil || c.revoked {
		return refuse(jwtUndecodable)
	}
	id, err := claims.issuer()
	if err != nil {
		return refuse(jwtIssuer)
	}
	i := slices.IndexFunc(f.store.apps, func(a *app) bool {
		return id == strconv.FormatInt(a.ID, 10) || id == a.ClientID && id != ""
	})
	if i < 0 {
		if _, err := strconv.ParseInt(id, 10, 64); err != nil {
			return refuse(jwtIssuer)
		}
		return nil, jsonReply(http.StatusNotFound, githubJSON, githubError{
			Message: "Integration not found", Status: "404", DocumentationURL: githubDocs,
		}), false
	}
	a = f.store.apps[i]
	if !slices.ContainsFunc(a.PublicKeys, func(k *rsa.PublicKey) bool { return rsa.VerifyPKCS1v15(k, crypto.SHA256, signed, signature) == nil }) {
		return refuse(jwtUndecodable)
	}
	now := c.now.Unix()
	expires, err := strconv.ParseFloat(string(claims.Expires), 64)
	if err != nil || expires <= float64(now) {
		return refuse(jwtExpired)
	}
	if expires > float64(now)+jwtLife.Seconds() {
		return refuse(jwtTooFar)
	}
	if issued, err := strconv.ParseInt(string(claims.IssuedAt), 10, 64); err != nil || issued > now {
		return refuse(jwtIssuedAt)
	}
	return a, reply{}, true
}

// parseJWT takes a JWT apart whose algorithm is RS256, and returns the hash that
// its signature is over.
func parseJWT(token string) (claims jwtClaims, signed, signature []byte, err error) {
	var header struct {
		Algorithm string `json:"alg"`
	}
	text, last, _ := cutLast(token, ".")
	first, second, _ := strings.Cut(text, ".")
	if err := decodeJWTPart(first, &header); err != nil {
		return claims, nil, nil, err
	}
	if header.Algorithm != "RS256" {
		return claims, nil, nil, rsa.ErrVerification
	}
	if err := decodeJWTPart(second, &claims); err != nil {
		return claims, nil, nil, err
	}
	sum := sha256.Sum256([]byte(text))
	signature, err = base64.RawURLEncoding.Strict().DecodeString(last)
	return claims, sum[:], signature, err
}

func decodeJWTPart(part string, v any) error {
	text, err := base64.RawURLEncoding.Strict().DecodeString(part)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, v)
}

// issuer returns the App's number or client ID, however it was written.
func (c jwtClaims) issuer() (string, error) {
	if !bytes.HasPrefix(c.Issuer, []byte(`"`)) {
		_, err := strconv.ParseInt(string(c.Issuer), 10, 64)
		return string(c.Issuer), err
	}
	var id string
	err := json.Unmarshal(c.Issuer, &id)
	return id, err
}

// cutLast cuts s at the last sep.
func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
