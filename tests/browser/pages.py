"""The pages as their users see them: by label, by role, by what is written there."""

from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.e2e.client import token


class ExamplePage:
    def __init__(self, page: Page) -> None:
        self.page = page
        self.status = page.get_by_role("status").filter(has=page.locator("#status-words"))
        self.notices = page.locator("#notices")
        self.frames = page.get_by_role("list", name="Frames")
        self.recipients = page.get_by_label("To", exact=True)

    def button(self, name: str) -> Locator:
        return self.page.get_by_role("button", name=name, exact=True)

    async def connected(self, name: str) -> None:
        await expect(self.page.locator("#status-words")).to_have_text(f"Connected as {name}")

    async def ended(self, *words: str) -> None:
        await expect(self.page.locator("#status-words")).to_have_text("Ended")
        for word in words:
            await expect(self.notices).to_contain_text(word)

    async def address(self, *recipient_ids: str) -> None:
        """A comma ends an id, and so does Enter. One more Enter would send."""
        *most, last = recipient_ids
        await self.recipients.fill("".join(f"{each}," for each in most))
        await self.recipients.fill(last)
        await self.recipients.press("Enter")

    def frame(self, event: str, direction: str) -> Locator:
        """Of the log: `direction` is "sent" or "received"."""
        return (
            self.frames.get_by_role("listitem")
            .filter(has=self.page.get_by_text(event, exact=True))
            .filter(has=self.page.get_by_text(direction, exact=True))
        )


class PlayerPage(ExamplePage):
    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.token = page.get_by_label("Token", exact=True)
        self.feed = page.get_by_role("log", name="Messages")
        self.received = self.feed.locator(".theirs")
        self.sent = self.feed.locator(".mine")
        self.people = page.locator("#people").get_by_role("listitem")
        self.devices = page.locator("#devices").get_by_role("listitem")

    async def sign_in(self, user_id: str, **claims: Any) -> None:
        await self.token.fill(token(user_id, **claims))
        await self.button("Connect").click()
        await self.connected(user_id)

    async def send(self, text: str) -> Locator:
        """To whom the page names already. Returns the message as its sender sees it."""
        field = self.page.get_by_label("Message", exact=True)
        await field.fill(text)
        await field.press("Enter")
        return self.sent.filter(has_text=text)

    def person(self, user_id: str) -> Locator:
        return self.people.filter(has=self.page.get_by_text(user_id, exact=True))

    def delivery(self, message: Locator, recipient_id: str) -> Locator:
        return (
            message.get_by_role("list", name="Delivery")
            .get_by_role("listitem")
            .filter(has_text=recipient_id)
        )


class ServicePage(ExamplePage):
    def __init__(self, page: Page) -> None:
        super().__init__(page)
        self.receipts = page.get_by_role("log", name="Receipts").locator("> li")
        self.registered = page.locator("#registered")
        self.ending = page.locator("#ending")

    async def authenticate(self, service_name: str, key: str) -> None:
        await self.page.get_by_label("Service name").fill(service_name)
        await self.page.get_by_label("Service key").fill(key)
        await self.button("Authenticate").click()

    async def register(self, service_name: str, *, metadata: str = "") -> None:
        """Under a key that the page makes; it is filled in for authenticating, too."""
        await self.page.get_by_text("Register a service").click()
        await self.page.get_by_label("Name", exact=True).fill(service_name)
        await self.button("Make one").click()
        await self.page.get_by_label("Type").fill("test")
        await self.page.get_by_label("Description").fill("Of a test")
        await self.page.locator("#register").get_by_label("Metadata").fill(metadata)
        await self.button("Register").click()

    async def send(self, text: str) -> None:
        field = self.page.get_by_label("Text")
        await field.fill(text)
        await field.press("Enter")


class AdminPage:
    """The admin of the internal gateway at `url`, as an operator uses it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url

    async def go(self, path: str) -> None:
        await self.page.goto(self.url + path)

    async def log_in(self, name: str, password: str) -> None:
        await self.page.get_by_label("Username").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()
        await expect(self.menu("Services")).to_be_visible()

    def menu(self, name: str) -> Locator:
        return self.page.get_by_role("navigation").get_by_role("link", name=name)

    async def open_service(self, name: str) -> None:
        await self.go("/admin/services_registry/service/")
        await self.row(name).get_by_role("link", name=name, exact=True).click()

    async def decide(self, decision: str) -> None:
        """On a service's page: asked, and said yes to."""
        await self.page.get_by_role("link", name=decision, exact=True).click()
        await self.page.get_by_role("button", name=decision, exact=True).click()

    def row(self, name: str) -> Locator:
        return self.page.get_by_role("row").filter(has_text=name)
