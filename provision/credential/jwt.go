package credential

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// How long before and after its making a JWT counts. GitHub takes one that ends
// ten minutes from now at most, and asks to date it back by a minute ("Generating
// a JSON Web Token (JWT) for a GitHub App").
const (
	jwtBack = time.Minute
	jwtLife = 9 * time.Minute
)

// signJWT returns the JWT (RFC 7519) that names issuer at now, signed with RS256
// (RFC 7518, section 3.3).
func signJWT(key *rsa.PrivateKey, issuer string, now time.Time) (string, error) {
	claims, err := json.Marshal(struct {
		IssuedAt int64  `json:"iat"`
		Expires  int64  `json:"exp"`
		Issuer   string `json:"iss"`
	}{now.Add(-jwtBack).Unix(), now.Add(jwtLife).Unix(), issuer})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(text))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return text + "." + encode(signature), nil
}
