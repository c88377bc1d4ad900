// A stream read line by line with net/http, through a client that compresses by itself where it can.
package main

import (
	"bufio"
	"fmt"
	"net/http"
	"os"
	"strings"
)

func main() {
	body := strings.NewReader(`{"model":"gpt-4o","messages":[{"role":"user","content":"写诗"}],"stream":true}`)
	request, err := http.NewRequest("POST", os.Getenv("BASE_URL")+"/v1/chat/completions", body)
	if err != nil {
		panic(err)
	}
	request.Header.Set("Authorization", "Bearer "+os.Getenv("API_KEY"))
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		fmt.Println(lines.Text())
	}
	if err := lines.Err(); err != nil {
		fmt.Println("broken off:", err)
	}
}
