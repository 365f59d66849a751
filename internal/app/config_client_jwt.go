package app

import (
	"maps"
	"slices"

	"github.com/holdfast-broker/holdfast/internal/admission"
)

// ClientJWT says which JSON Web Tokens clients may show, and which claims say who they are.
type ClientJWT struct {
	JWT

	// From are the places of the token, see admission.ParsePlace.
	From   []string     `yaml:"from"`
	Claims ClientClaims `yaml:"claims"`
}

// ClientClaims are names of claims. A name with "." may be that of a claim within objects.
type ClientClaims struct {
	User       string            `yaml:"user"`       // empty: nobody knows who the client is
	Attributes map[string]string `yaml:"attributes"` // by the attribute's name
	Groups     string            `yaml:"groups"`     // empty: none
}

// SetDefaults fills in what the file may leave out.
func (j *ClientJWT) SetDefaults() {
	j.JWT = defaultJWT()
	j.From = []string{"authorization", "subprotocol"}
	j.Claims = ClientClaims{User: "sub"}
}

func (v *checker) admissionJWT(key string, a Admission) {
	switch {
	case a.Mode == admissionJWT && a.JWT == nil:
		v.refuse(key, "missing: want at least algorithms and a key")
	case a.Mode != admissionJWT && a.JWT != nil:
		v.refuse(key, "it is for mode jwt, and the mode is %s", a.Mode)
	case a.JWT != nil:
		v.clientJWT(key, *a.JWT)
	}
}

func (v *checker) clientJWT(key string, j ClientJWT) {
	v.jwt(key, j.JWT)
	if len(j.From) == 0 {
		v.refuse(key+".from", "empty: want at least one of authorization, subprotocol, cookie:NAME and query:NAME")
	}
	v.each(key+".from", j.From, func(at, place string) {
		if _, err := admission.ParsePlace(place); err != nil {
			v.refuse(at, "%s", err)
		}
	})
	for _, name := range slices.Sorted(maps.Keys(j.Claims.Attributes)) {
		v.notEmpty(join(key+".claims.attributes", name), j.Claims.Attributes[name], "the name of a claim")
	}
}

// places are where a token may be.
func (j *ClientJWT) places() (all []admission.Place, err error) {
	for _, text := range j.From {
		place, err := admission.ParsePlace(text)
		if err != nil {
			return nil, err
		}
		all = append(all, place)
	}
	return all, nil
}

// parameters are those of a URL's query that have a token.
func (a Admission) parameters() (names []string) {
	if a.JWT == nil {
		return nil
	}
	places, _ := a.JWT.places() // they were checked
	for _, p := range places {
		if name := p.Parameter(); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// tokenAdmitter lets in who shows a good token.
func (b *broker) tokenAdmitter(cfg *ClientJWT) (admission.Admitter, error) {
	v, err := b.verifier(cfg.JWT)
	if err != nil {
		return nil, err
	}
	places, err := cfg.places()
	if err != nil {
		return nil, err
	}
	return &admission.JWT{
		Verifier: v, From: places, Logger: b.logger,
		User: cfg.Claims.User, Attributes: cfg.Claims.Attributes, Groups: cfg.Claims.Groups,
	}, nil
}
