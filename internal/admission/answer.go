package admission

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/holdfast-broker/holdfast/internal/hub"
	"github.com/holdfast-broker/holdfast/internal/ws/wire"
	holdfastv1 "github.com/holdfast-broker/holdfast/proto/holdfast/v1"
)

// Limits of an answer; the schema states them too.
const (
	MaxAnswer       = 64 << 10 // bytes
	MaxAnswerFields = 8 << 10  // bytes of names and values of all headers
)

// readAnswer reads what may be a backend's answer. What is none is not taken; what is one but cannot be acted
// on keeps the client out.
func readAnswer(reply []byte, r *Request) (grant *Grant, refusal *Refusal, taken bool) {
	if len(reply) > MaxAnswer {
		return nil, invalidAnswer(fmt.Errorf("it has %d bytes: want at most %d", len(reply), MaxAnswer)), true
	}
	if !isAnswer(reply) {
		return nil, nil, false
	}
	answer := &holdfastv1.HandshakeAnswer{}
	err := protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(reply, answer)
	if err != nil {
		err = errors.New("it does not have the types of holdfast.v1.HandshakeAnswer") // the library's text quotes values
	} else {
		switch verdict := answer.GetVerdict().(type) {
		case *holdfastv1.HandshakeAnswer_Accept_:
			grant, err = grantOf(verdict.Accept, r)
		case *holdfastv1.HandshakeAnswer_Refuse_:
			refusal, err = refusalOf(verdict.Refuse)
		default:
			err = errors.New("accept and refuse are null: want an object")
		}
	}
	if err != nil {
		return nil, invalidAnswer(err), true
	}
	return grant, refusal, true
}

// isAnswer: other replies come too, such as the acknowledgement of a JetStream stream over the subject.
func isAnswer(reply []byte) bool {
	var fields struct {
		Accept json.RawMessage `json:"accept"`
		Refuse json.RawMessage `json:"refuse"`
	}
	return json.Unmarshal(reply, &fields) == nil && (fields.Accept != nil || fields.Refuse != nil)
}

func invalidAnswer(err error) *Refusal {
	return &Refusal{
		Reason: ReasonInvalidAnswer, Status: http.StatusBadGateway,
		Body: []byte("whoever decides who may connect did not make sense\n"), Detail: err.Error(),
	}
}

func grantOf(a *holdfastv1.HandshakeAnswer_Accept, r *Request) (*Grant, error) {
	var expires time.Time
	if t := a.GetExpireTime(); t != nil {
		if expires = t.AsTime(); !t.IsValid() || !expires.After(time.Now()) {
			return nil, fmt.Errorf("accept.expire_time: %q is not valid: want a time in the future", expires.Format(time.RFC3339))
		}
	}
	identity, err := hub.NewIdentity(a.GetUser(), a.GetAttributes(), a.GetGroups(), expires)
	if err != nil {
		return nil, fmt.Errorf("accept.%w", err)
	}
	if s := a.GetSubprotocol(); s != "" && !slices.Contains(r.Offers, s) {
		return nil, errors.New("accept.subprotocol: the client did not offer it, or it is a credential")
	}
	fields, err := fieldsOf("accept.headers", a.GetHeaders())
	if err != nil {
		return nil, err
	}
	return &Grant{Identity: identity, Subprotocol: a.Subprotocol, Header: fields}, nil
}

// redirects are the statuses that send a client elsewhere.
var redirects = []int{
	http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect,
}

func refusalOf(a *holdfastv1.HandshakeAnswer_Refuse) (*Refusal, error) {
	fields, err := fieldsOf("refuse.headers", a.GetHeaders())
	if err != nil {
		return nil, err
	}
	status := int(a.GetStatus())
	if status == 0 {
		status = http.StatusForbidden
	}
	hasLocation := slices.ContainsFunc(fields, func(f [2]string) bool { return strings.EqualFold(f[0], "Location") })
	if (status < 400 || status > 599) && (!slices.Contains(redirects, status) || !hasLocation) {
		return nil, fmt.Errorf("refuse.status: %d is not valid: want 400 to 599, or 301, 302, 303, 307 or 308 with a Location", a.GetStatus())
	}
	return &Refusal{Reason: ReasonRefused, Status: status, Header: fields, Body: []byte(a.GetBody())}, nil
}

func fieldsOf(key string, headers []*holdfastv1.HandshakeAnswer_Field) (fields [][2]string, err error) {
	size := 0
	for i, h := range headers {
		if err := wire.CheckAnswerField(h.GetName(), h.GetValue()); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", key, i, err)
		}
		size += len(h.GetName()) + len(h.GetValue())
		fields = append(fields, [2]string{h.GetName(), h.GetValue()})
	}
	if size > MaxAnswerFields {
		return nil, fmt.Errorf("%s: %d bytes of names and values: want at most %d", key, size, MaxAnswerFields)
	}
	return fields, nil
}
