"use strict";
// Approves an action with a passkey, and registers a passkey with an invitation.
(() => {
  const bytes = (text) => Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (one) => one.charCodeAt(0));
  const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

  const answerOf = (made) => {
    const response = {};
    for (const name of ["clientDataJSON", "authenticatorData", "signature", "attestationObject"]) {
      if (made.response[name]) response[name] = text(made.response[name]);
    }
    return JSON.stringify({ id: made.id, rawId: text(made.rawId), type: made.type, response });
  };

  // the reason is part of what is signed, as its SHA-256
  const challengeOf = async (form) => {
    if (!("glass" in form.dataset)) return bytes(form.dataset.passkey);
    form.elements.reason.value = form.elements.reason.value.trim();
    const hashed = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(form.elements.reason.value)));
    const hex = Array.from(hashed, (one) => one.toString(16).padStart(2, "0")).join("");
    return new TextEncoder().encode(`${form.dataset.glass}${hex}\n`);
  };

  const sign = async (form) => {
    if (location.origin !== form.dataset.origin) throw new Error(`passkeys work only at ${form.dataset.origin}: open the page there`);
    if (!navigator.credentials) throw new Error("this browser has no passkeys here; they need https or localhost");
    const publicKey = { challenge: await challengeOf(form), rpId: form.dataset.host, userVerification: "required" };
    return answerOf(await navigator.credentials.get({ publicKey }));
  };

  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!("passkey" in form.dataset)) return;
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      form.elements.answer.value = await sign(form);
      // the page follows the record: this preview may be over, and the new one was not seen
      if (!form.isConnected) return;
      form.submit();
    } catch (error) {
      form.querySelector("[role=status]").textContent = `Not approved: ${error.message}`;
      button.disabled = false;
    }
  });

  const post = async (fields) => {
    const answer = await fetch(location.pathname, { method: "POST", body: new URLSearchParams(fields) });
    const said = await answer.json();
    if (!answer.ok) throw new Error(`${said.refused}. Next: ${said.next}`);
    return said;
  };

  const register = async (invitation) => {
    if (!navigator.credentials) throw new Error("this browser has no passkeys here; they need https or localhost");
    const { options } = await post({ invitation });
    const publicKey = { ...options, challenge: bytes(options.challenge), user: { ...options.user, id: bytes(options.user.id) } };
    const made = await navigator.credentials.create({ publicKey });
    return (await post({ invitation, answer: answerOf(made) })).done;
  };

  const place = document.getElementById("register");
  const invitation = location.hash.slice(1);
  if (place && invitation) {
    history.replaceState(null, "", location.pathname); // the secret leaves the address bar
    const button = place.querySelector("button"), status = place.querySelector("[role=status]");
    button.hidden = false;
    status.textContent = "Your device asks for your fingerprint, face or PIN.";
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        status.textContent = await register(invitation);
        button.hidden = true;
      } catch (error) {
        status.textContent = `Not registered: ${error.message}`;
        button.disabled = false;
      }
    });
  }
})();
