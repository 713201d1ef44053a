// A token server for docker-registry's token authentication: GET with or without Basic credentials, and the OAuth
// POST. The tokens are JWTs signed with ES256, the certificate in x5c. The one account may do everything; anybody
// may pull what is below the public prefix. Requests are logged to standard output as lines of JSON, after one line
// with the address.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

type server struct {
	key          *ecdsa.PrivateKey
	certificate  []byte
	issuer       string
	user         string
	password     string
	refreshToken string
	publicPrefix string
	expiresIn    int
	oauth        bool
	accessToken  bool
	mutex        sync.Mutex
}

type access struct {
	Type    string   `json:"type"`
	Name    string   `json:"name"`
	Actions []string `json:"actions"`
}

// entry is one line of the log.
type entry struct {
	Method    string   `json:"method"`
	GrantType string   `json:"grant_type"`
	User      string   `json:"user"`
	Service   string   `json:"service"`
	Scopes    []string `json:"scopes"`
	ClientID  string   `json:"client_id"`
	UserAgent string   `json:"user_agent"`
	Status    int      `json:"status"`
}

func main() {
	var s server
	certificate := flag.String("certificate", "", "file to write the certificate to")
	flag.StringVar(&s.issuer, "issuer", "", "")
	flag.StringVar(&s.user, "user", "", "")
	flag.StringVar(&s.password, "password", "", "")
	flag.StringVar(&s.refreshToken, "refresh-token", "", "")
	flag.StringVar(&s.publicPrefix, "public", "", "prefix of the repositories that anybody may pull")
	flag.IntVar(&s.expiresIn, "expires-in", 300, "seconds")
	flag.BoolVar(&s.oauth, "oauth", true, "support POST")
	flag.BoolVar(&s.accessToken, "access-token", false, "answer access_token instead of token")
	flag.Parse()
	if err := s.makeCertificate(*certificate); err != nil {
		log.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr())
	http.HandleFunc("/token", s.handle)
	log.Fatal(http.Serve(listener, nil))
}

func (s *server) makeCertificate(file string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: s.issuer},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(24 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	s.key, s.certificate = key, certificate
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0644)
}

func (s *server) handle(response http.ResponseWriter, request *http.Request) {
	if err := request.ParseForm(); err != nil {
		http.Error(response, err.Error(), http.StatusBadRequest)
		return
	}
	line := entry{
		Method:    request.Method,
		GrantType: request.PostForm.Get("grant_type"),
		Service:   request.Form.Get("service"),
		ClientID:  request.Form.Get("client_id"),
		UserAgent: request.UserAgent(),
	}
	for _, scopes := range request.Form["scope"] {
		line.Scopes = append(line.Scopes, strings.Fields(scopes)...)
	}
	line.User, line.Status = s.authenticate(request)
	// Logged before the answer is sent, so that a client that has it finds the line there.
	s.log(line)
	if line.Status != http.StatusOK {
		response.Header().Set("WWW-Authenticate", `Basic realm="tokens"`)
		http.Error(response, http.StatusText(line.Status), line.Status)
		return
	}
	s.answer(response, request, line)
}

func (s *server) authenticate(request *http.Request) (user string, status int) {
	var password string
	switch {
	case request.Method == http.MethodPost && !s.oauth:
		return "", http.StatusNotFound
	case request.Method == http.MethodPost && request.PostForm.Get("grant_type") == "refresh_token":
		if s.refreshToken == "" || request.PostForm.Get("refresh_token") != s.refreshToken {
			return "", http.StatusUnauthorized
		}
		return s.user, http.StatusOK
	case request.Method == http.MethodPost:
		user, password = request.PostForm.Get("username"), request.PostForm.Get("password")
	default:
		var given bool
		if user, password, given = request.BasicAuth(); !given {
			return "", http.StatusOK
		}
	}
	if user != s.user || password != s.password {
		return "", http.StatusUnauthorized
	}
	return user, http.StatusOK
}

func (s *server) answer(response http.ResponseWriter, request *http.Request, line entry) {
	token, err := s.sign(line)
	if err != nil {
		http.Error(response, err.Error(), http.StatusInternalServerError)
		return
	}
	body := map[string]interface{}{
		"expires_in": s.expiresIn,
		"issued_at":  time.Now().UTC().Format(time.RFC3339),
	}
	if s.accessToken || request.Method == http.MethodPost {
		body["access_token"] = token
	} else {
		body["token"] = token
	}
	offline := request.Form.Get("offline_token") == "true" || request.Form.Get("access_type") == "offline"
	if offline && line.User != "" {
		body["refresh_token"] = s.refreshToken
	}
	response.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(response).Encode(body); err != nil {
		log.Print(err)
	}
}

// grant cuts the asked-for scopes down to what the user may do.
func (s *server) grant(line entry) []access {
	granted := []access{}
	for _, scope := range line.Scopes {
		first, last := strings.Index(scope, ":"), strings.LastIndex(scope, ":")
		if first < 0 || first == last {
			continue
		}
		item := access{Type: scope[:first], Name: scope[first+1 : last], Actions: []string{}}
		for _, action := range strings.Split(scope[last+1:], ",") {
			public := action == "pull" && strings.HasPrefix(item.Name, s.publicPrefix)
			if line.User != "" || public {
				item.Actions = append(item.Actions, action)
			}
		}
		granted = append(granted, item)
	}
	return granted
}

func (s *server) sign(line entry) (string, error) {
	now := time.Now()
	header := map[string]interface{}{
		"typ": "JWT", "alg": "ES256",
		"x5c": []string{base64.StdEncoding.EncodeToString(s.certificate)},
	}
	claims := map[string]interface{}{
		"iss": s.issuer, "sub": line.User, "aud": line.Service,
		"exp": now.Add(time.Duration(s.expiresIn) * time.Second).Unix(),
		"nbf": now.Add(-time.Minute).Unix(), "iat": now.Unix(),
		"jti": fmt.Sprint(now.UnixNano()), "access": s.grant(line),
	}
	var parts []string
	for _, part := range []interface{}{header, claims} {
		text, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		parts = append(parts, base64.RawURLEncoding.EncodeToString(text))
	}
	signed := strings.Join(parts, ".")
	hash := sha256.Sum256([]byte(signed))
	r, sig, err := ecdsa.Sign(rand.Reader, s.key, hash[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	sig.FillBytes(signature[32:])
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func (s *server) log(line entry) {
	text, err := json.Marshal(line)
	if err != nil {
		log.Fatal(err)
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	fmt.Println(string(text))
}
