// The dialog by which a text is typed into the machine.

export class TypingDialog {
  /** `type` takes the text; `closed` is called when the dialog has gone, typed or not. */
  constructor(button, dialog, { type, closed }) {
    const part = (name) => dialog.querySelector(`#type-${name}`);
    const send = () => {
      type(part("text").value);
      dialog.close();
    };
    button.onclick = () => dialog.showModal();
    part("cancel").onclick = () => dialog.close();
    part("send").onclick = send;
    part("text").onkeydown = (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault(); // else Firefox presses the button that has the focus back, and the dialog is open again
      send();
    };
    dialog.onclose = () => {
      part("text").value = "";
      closed();
    };
  }
}
